package etcd

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"time"

	hraft "github.com/hashicorp/raft"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/internal/links"
	"github.com/themilchenko/raftlab/engines/internal/snapshots"
)

// A snapshot goes over a connection of its own, in pieces: the library's message, which
// names it; what it covers, in JSON (its length in 4 bytes, big endian, before it); its bytes; and their
// CRC-32C in 4 bytes. The receiver answers with one byte.

const (
	snapshotPiece    = 256 << 10
	maxCoverBytes    = 1 << 20
	snapshotTaken    = 'k' // or not needed
	snapshotRefused  = 'x'
	snapshotPatience = time.Minute // for what the receiver does with it
)

// cover is what a snapshot covers.
type cover struct {
	Size       int64    `json:"size"`
	Configured uint64   `json:"configured"`
	Members    []record `json:"members"`
}

// sendSnapshot sends the snapshot that a message names, and reports to the library what came
// of it, whatever that is: until then it sends that member nothing.
func (r *replica) sendSnapshot(m *pb.Message, stamp int64) {
	r.working.Go(func() {
		begun := time.Now()
		err := r.transmit(m, stamp)
		status := raft.SnapshotFinish
		if err != nil {
			status = raft.SnapshotFailure
			r.logger.Warn("a snapshot was not sent", "index", m.GetSnapshot().GetMetadata().GetIndex(), "error", err)
		} else {
			r.logger.Info("snapshot sent", "index", m.GetSnapshot().GetMetadata().GetIndex(), "took", time.Since(begun))
		}
		r.driver.post(func(d *driver) { d.node.ReportSnapshot(m.GetTo(), status) })
	})
}

func (r *replica) transmit(m *pb.Message, stamp int64) error {
	meta, data, err := r.openSnapshot(m.GetSnapshot().GetMetadata())
	if err != nil {
		return err
	}
	defer data.Close()
	conn, _, err := r.peers.dial(m.GetTo(), forSnapshot)
	if err != nil {
		return err
	}
	defer r.peers.discard(conn)
	c := configurationOf(meta)
	text, err := json.Marshal(cover{meta.Size, c.index, recordsOf(c.members)})
	if err != nil {
		return err
	}
	head, err := appendFrame(nil, frame{stamps{sent: stamp}, m})
	if err != nil {
		return err
	}
	head = append(binary.BigEndian.AppendUint32(head, uint32(len(text))), text...)
	sum := crc32.New(castagnoli())
	whole := io.MultiReader(bytes.NewReader(head), io.TeeReader(io.LimitReader(data, meta.Size), sum))
	if err := pieces(conn, whole, func() error { return conn.SetWriteDeadline(time.Now().Add(patience)) }); err != nil {
		return fmt.Errorf("send snapshot %s: %w", meta.ID, err)
	}
	if _, err := conn.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("send snapshot %s: %w", meta.ID, err)
	}
	var answer [1]byte
	if err := conn.SetReadDeadline(time.Now().Add(snapshotPatience)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("answer to snapshot %s: %w", meta.ID, err)
	}
	if answer[0] != snapshotTaken {
		return fmt.Errorf("snapshot %s was refused: the log of the other says why", meta.ID)
	}
	return nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// pieces copies all of from, and calls before each piece.
func pieces(to io.Writer, from io.Reader, before func() error) error {
	for {
		if err := before(); err != nil {
			return err
		}
		if _, err := io.CopyN(to, from, snapshotPiece); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// openSnapshot opens the snapshot that the library has named.
func (r *replica) openSnapshot(of *pb.SnapshotMetadata) (*hraft.SnapshotMeta, io.ReadCloser, error) {
	all, err := r.snapshots.List()
	if err != nil {
		return nil, nil, err
	}
	for _, meta := range all {
		if meta.Index == of.GetIndex() && meta.Term == of.GetTerm() {
			return r.snapshots.Open(meta.ID)
		}
	}
	return nil, nil, fmt.Errorf("snapshot of entry %d: %w: a newer one has taken its place", of.GetIndex(), core.ErrNotFound)
}

// serve reads what a member sends on a connection that it has made.
func (r *replica) serve(c *links.Conn) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	in := newSource(c)
	kind, address, err := readHello(in.in)
	if err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	r.peers.meet(c.Peer, address)
	from := numberOf(c.Peer.String())
	voice := r.peers.voice(from)
	for {
		f, err := in.next()
		if err != nil {
			return err
		}
		voice.now()
		if err := r.admit(f.Message, from, kind); err != nil {
			r.self.Refusals.Say(r.logger, c.Peer, err)
			return io.EOF
		}
		m := &received{frame: f, peer: &c.Peer}
		if kind == forSnapshot {
			return r.receiveSnapshot(c, in, m)
		}
		if !r.deliver(m) {
			return io.EOF
		}
	}
}

// admit refuses a message that no member sends.
func (r *replica) admit(m *pb.Message, from uint64, kind byte) error {
	if err := check(m, from, r.number); err != nil {
		return err
	}
	if (m.GetType() == pb.MsgSnap) != (kind == forSnapshot) {
		return fmt.Errorf("%w: a snapshot goes over a connection of its own, and nothing else does", core.ErrInvalid)
	}
	if term := r.view.Load().term; m.GetTerm() > term && m.GetTerm()-term > maxTermJump {
		return fmt.Errorf("%w: term %d, in a group that is at %d", core.ErrInvalid, m.GetTerm(), term)
	}
	return nil
}

// maxTermJump is how far a message may be ahead of the replica's term. Elections count terms
// up one by one, so a real group never gets that far; a term near the end of the range would
// leave it no further election.
const maxTermJump = 1 << 32

func (r *replica) deliver(m *received) bool {
	select {
	case r.driver.inbox <- m:
		return true
	case <-r.Begun():
		return false
	}
}

// receiveSnapshot takes in a snapshot, has it installed, and answers.
func (r *replica) receiveSnapshot(conn net.Conn, in *source, m *received) error {
	if !r.receiving.TryLock() {
		return errors.New("a snapshot is coming already")
	}
	defer r.receiving.Unlock()
	var err error
	if m.snapshot, err = r.readSnapshot(in, m.GetSnapshot().GetMetadata()); err != nil {
		return fmt.Errorf("receive a snapshot: %w", err)
	}
	m.Snapshot = metadata(m.snapshot.meta)
	if !r.deliver(m) {
		return m.snapshot.sink.Cancel()
	}
	answer := []byte{snapshotTaken}
	select {
	case err = <-m.snapshot.done:
	case <-r.Begun():
		return io.EOF
	}
	if err != nil {
		answer[0] = snapshotRefused
	}
	return errors.Join(err, conn.SetWriteDeadline(time.Now().Add(patience)), writeAll(conn, answer))
}

func writeAll(w io.Writer, p []byte) error {
	_, err := w.Write(p)
	return err
}

// readSnapshot reads the rest of a snapshot into the store, where it does not count yet.
func (r *replica) readSnapshot(in *source, of *pb.SnapshotMetadata) (*incoming, error) {
	deadline := func() error { return in.conn.SetReadDeadline(time.Now().Add(patience)) }
	if err := deadline(); err != nil {
		return nil, err
	}
	c, err := readCover(in.in)
	if err != nil {
		return nil, err
	}
	members := configuration{c.Configured, membersOf(c.Members)}
	meta := &hraft.SnapshotMeta{
		Index: of.GetIndex(), Term: of.GetTerm(), Configuration: members.servers(), ConfigurationIndex: members.index, Size: c.Size,
	}
	if meta.Index == 0 || meta.Term == 0 || members.index == 0 || members.index > meta.Index || c.Size < 0 {
		return nil, fmt.Errorf("%w: a snapshot of entry %d, term %d, as of configuration %d, with %d bytes", core.ErrInvalid, meta.Index, meta.Term, members.index, c.Size)
	}
	sink, err := snapshots.Begin(r.snapshots, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex)
	if err != nil {
		return nil, err
	}
	meta.ID = sink.ID()
	sum := crc32.New(castagnoli())
	data := &io.LimitedReader{R: in.in, N: c.Size}
	err = pieces(io.MultiWriter(sink, sum), data, deadline)
	if err == nil && data.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	var want [crc32.Size]byte
	if err == nil {
		_, err = io.ReadFull(in.in, want[:])
	}
	if err == nil && binary.BigEndian.Uint32(want[:]) != sum.Sum32() {
		err = fmt.Errorf("%w: its checksum does not match", core.ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, sink.Cancel())
	}
	return &incoming{sink: sink, meta: meta, done: make(chan error, 1)}, nil
}

func readCover(r io.Reader) (c cover, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return c, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxCoverBytes {
		return c, fmt.Errorf("%w: a description of %d bytes", core.ErrInvalid, n)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return c, err
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%w: a snapshot that does not say what it covers: %w", core.ErrInvalid, err)
	}
	return c, nil
}
