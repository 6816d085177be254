package etcd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
)

// What is said on a connection, after the handshake: who has dialled says what the
// connection is for (one byte) and its own address (its length in two bytes, big endian,
// and the text). Messages follow, in that direction only, as frames: the length of the
// message (4 bytes, big endian), two times (8 bytes each; see stamps), and the library's
// message in Protocol Buffers.

// What connections are for.
const (
	forMessages = 'm'
	forSnapshot = 's' // one message, and the snapshot behind it
)

const (
	headBytes = 4 + 8 + 8
	// maxMessageBytes bounds what comes in as one message. It leaves room for one command of 64 MiB.
	maxMessageBytes = 72 << 20
	maxAddressBytes = 1 << 10
	bufferBytes     = 64 << 10
	// patience bounds each step on the wire: of a message that has begun, 256 KiB of a snapshot.
	patience = 10 * time.Second
)

// stamps let a leader know how recent an answer is: who sends says when, by its own clock,
// and who answers sends that back, with its next message to it. Nanoseconds since the
// sender's start; 0: nothing is said.
type stamps struct{ sent, echo int64 }

// frame is a message on the wire.
type frame struct {
	stamps
	*pb.Message
}

func writeHello(w io.Writer, kind byte, address string) error {
	if len(address) > maxAddressBytes {
		return fmt.Errorf("%w: an address of %d bytes", core.ErrInvalid, len(address))
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(address))), address...))
	return err
}

func readHello(r io.Reader) (kind byte, address string, err error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, "", err
	}
	n := binary.BigEndian.Uint16(head[1:])
	if n > maxAddressBytes || head[0] != forMessages && head[0] != forSnapshot {
		return 0, "", fmt.Errorf("%w: what was dialled in does not speak as the engine etcd does", core.ErrInvalid)
	}
	text := make([]byte, n)
	_, err = io.ReadFull(r, text)
	return head[0], string(text), err
}

// appendFrame appends the bytes of a frame.
func appendFrame(buf []byte, f frame) ([]byte, error) {
	begin := len(buf)
	buf = append(buf, make([]byte, headBytes)...)
	buf, err := proto.MarshalOptions{}.MarshalAppend(buf, f.Message)
	if err != nil {
		return nil, err
	}
	size := len(buf) - begin - headBytes
	if size > maxMessageBytes {
		return nil, fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", core.ErrInvalid, size, maxMessageBytes)
	}
	binary.BigEndian.PutUint32(buf[begin:], uint32(size))
	binary.BigEndian.PutUint64(buf[begin+4:], uint64(f.sent))
	binary.BigEndian.PutUint64(buf[begin+12:], uint64(f.echo))
	return buf, nil
}

// source reads frames from a connection. One goroutine uses it.
type source struct {
	conn net.Conn
	in   *bufio.Reader
}

func newSource(conn net.Conn) *source { return &source{conn, bufio.NewReaderSize(conn, bufferBytes)} }

// next waits for a frame. Once it has begun to come, it has to go on.
func (s *source) next() (f frame, err error) {
	if _, err := s.in.Peek(1); err != nil {
		return f, err
	}
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return f, err
	}
	var head [headBytes]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return f, err
	}
	size := int(binary.BigEndian.Uint32(head[:]))
	if size > maxMessageBytes {
		return f, fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", core.ErrInvalid, size, maxMessageBytes)
	}
	f.sent, f.echo = int64(binary.BigEndian.Uint64(head[4:])), int64(binary.BigEndian.Uint64(head[12:]))
	body, err := s.body(size)
	if err != nil {
		return f, err
	}
	f.Message = new(pb.Message)
	if err := proto.Unmarshal(body, f.Message); err != nil {
		return f, fmt.Errorf("%w: a message that cannot be read: %w", core.ErrInvalid, err)
	}
	return f, s.conn.SetReadDeadline(time.Time{})
}

// body reads size bytes. Memory is taken as they come, not as they are announced.
func (s *source) body(size int) ([]byte, error) {
	if size <= bufferBytes {
		body := make([]byte, size)
		_, err := io.ReadFull(s.in, body)
		return body, err
	}
	var body bytes.Buffer
	for left := size; left > 0; left = size - body.Len() {
		if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return nil, err
		}
		if _, err := io.CopyN(&body, s.in, int64(min(left, 4*bufferBytes))); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return body.Bytes(), nil
}

// check refuses a message that no replica of this engine sends to self from the member from:
// the library trusts its messages, and panics on some that make no sense.
func check(m *pb.Message, from, self uint64) error {
	bad := func(what string) error {
		return fmt.Errorf("%w: a message of type %v %s", core.ErrInvalid, m.GetType(), what)
	}
	if m.GetFrom() != from || m.GetTo() != self {
		return bad("from another member than is connected, or for another")
	}
	if m.GetTerm() == 0 {
		return bad("without a term")
	}
	if len(m.GetResponses()) > 0 {
		return bad("with responses")
	}
	switch m.GetType() {
	case pb.MsgHeartbeatResp, pb.MsgHeartbeat:
		if n := len(m.GetContext()); n != 0 && n != 8 {
			return bad("with a broken context")
		}
	case pb.MsgApp:
		return checkEntries(m, bad)
	case pb.MsgSnap:
		if m.GetSnapshot() == nil {
			return bad("without a snapshot")
		}
	case pb.MsgAppResp, pb.MsgVote, pb.MsgVoteResp, pb.MsgPreVote, pb.MsgPreVoteResp, pb.MsgTimeoutNow:
	default:
		return bad("is not one for others")
	}
	return nil
}

func checkEntries(m *pb.Message, bad func(string) error) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		index++
		if e == nil || e.GetIndex() != index || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return bad("whose entries do not follow each other")
		}
		if t := e.GetType(); t != pb.EntryNormal && t != pb.EntryConfChangeV2 {
			return bad(fmt.Sprintf("with an entry of type %v", t))
		}
		term = e.GetTerm()
	}
	return nil
}
