package etcd

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// fromBytes is a connection that gives bytes.
type fromBytes struct {
	net.Conn
	io.Reader
}

func (c fromBytes) Read(p []byte) (int, error)    { return c.Reader.Read(p) }
func (fromBytes) SetReadDeadline(time.Time) error { return nil }
func sourceOf(data []byte) *source {
	c := fromBytes{Reader: bytes.NewReader(data)}
	return &source{c, bufio.NewReader(c)}
}
func message(t pb.MessageType, change ...func(*pb.Message)) *pb.Message {
	m := &pb.Message{Type: t.Enum(), From: proto.Uint64(1), To: proto.Uint64(2), Term: proto.Uint64(3)}
	for _, c := range change {
		c(m)
	}
	return m
}

func entry(index, term uint64) *pb.Entry {
	return &pb.Entry{Index: proto.Uint64(index), Term: proto.Uint64(term), Data: []byte("data")}
}

// TestFrames: what is written is read, one after the other.
func TestFrames(t *testing.T) {
	big := message(pb.MsgApp, func(m *pb.Message) {
		e := entry(1, 3)
		e.Data = bytes.Repeat([]byte("x"), 3*bufferBytes)
		m.Index, m.Entries = proto.Uint64(0), []*pb.Entry{e}
	})
	var out []byte
	var err error
	sent := []frame{{stamps{7, -1}, message(pb.MsgHeartbeat)}, {stamps{0, 1 << 60}, big}, {stamps{}, message(pb.MsgVote)}}
	for _, f := range sent {
		if out, err = appendFrame(out, f); err != nil {
			t.Fatal(err)
		}
	}
	in := sourceOf(out)
	for _, want := range sent {
		got, err := in.next()
		if err != nil || got.stamps != want.stamps || !proto.Equal(got.Message, want.Message) {
			t.Errorf("%v %v, %v; want %v", got.stamps, got.GetType(), err, want.stamps)
		}
	}
	if _, err := in.next(); err != io.EOF {
		t.Error(err)
	}
	if _, err := sourceOf(out[:len(out)-1]).next(); err != nil {
		t.Error(err) // the first is whole
	}
	short := sourceOf(out[:headBytes+1])
	if _, err := short.next(); err == nil {
		t.Error("half a message")
	}
}

// TestCheck: messages that the library would panic on, or take for another member's.
func TestCheck(t *testing.T) {
	for what, m := range map[string]*pb.Message{
		"another sender":       message(pb.MsgAppResp, func(m *pb.Message) { m.From = proto.Uint64(9) }),
		"another receiver":     message(pb.MsgAppResp, func(m *pb.Message) { m.To = proto.Uint64(9) }),
		"no term":              message(pb.MsgHeartbeat, func(m *pb.Message) { m.Term = nil }),
		"a short context":      message(pb.MsgHeartbeatResp, func(m *pb.Message) { m.Context = []byte("abc") }),
		"a local message":      message(pb.MsgHup),
		"a proposal":           message(pb.MsgProp),
		"responses":            message(pb.MsgApp, func(m *pb.Message) { m.Responses = []*pb.Message{{}} }),
		"a gap":                message(pb.MsgApp, func(m *pb.Message) { m.Entries = []*pb.Entry{entry(1, 1), entry(3, 1)} }),
		"a term of the future": message(pb.MsgApp, func(m *pb.Message) { m.Entries = []*pb.Entry{entry(1, 4)} }),
		"terms that fall":      message(pb.MsgApp, func(m *pb.Message) { m.Entries = []*pb.Entry{entry(1, 2), entry(2, 1)} }),
		"an old kind of change": message(pb.MsgApp, func(m *pb.Message) {
			e := entry(1, 1)
			e.Type = pb.EntryConfChange.Enum()
			m.Entries = []*pb.Entry{e}
		}),
	} {
		if check(m, 1, 2) == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if err := check(message(pb.MsgApp, func(m *pb.Message) { m.Entries = []*pb.Entry{entry(1, 2), entry(2, 3)} }), 1, 2); err != nil {
		t.Error(err)
	}
}

// FuzzSource: whatever comes in, reading it ends without a panic, and what passes the check
// can be written again.
func FuzzSource(f *testing.F) {
	for _, m := range []*pb.Message{message(pb.MsgHeartbeat), message(pb.MsgApp, func(m *pb.Message) { m.Entries = []*pb.Entry{entry(1, 2)} })} {
		data, err := appendFrame(nil, frame{stamps{1, 2}, m})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := sourceOf(data)
		for {
			got, err := in.next()
			if err != nil {
				return
			}
			if check(got.Message, 1, 2) == nil {
				if _, err := appendFrame(nil, got); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// FuzzCover reads what a snapshot says of itself.
func FuzzCover(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = readCover(bytes.NewReader(data)) })
}
