package coretest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

const (
	snapshotSize  = 8 << 20 // bytes of the state that is streamed
	snapshotAhead = 4 << 20 // bytes that the sender gives before the receiver has read
	snapshotFirst = 1 << 20 // bytes that the receiver reads to get the rest
)

// gatedState is a random state of snapshotSize bytes that hands out its second
// half only once the receiver has read some of the first: a transport that reads
// a snapshot to its end before it delivers the request never gets there.
type gatedState struct {
	random   io.Reader
	sum      hash.Hash
	given    int
	opened   <-chan struct{}
	patience time.Duration
}

func newGatedState(opened <-chan struct{}, patience time.Duration) *gatedState {
	return &gatedState{random: rand.NewChaCha8([32]byte{7}), sum: sha256.New(), opened: opened, patience: patience}
}

// Read implements io.Reader.
func (g *gatedState) Read(p []byte) (int, error) {
	limit := snapshotAhead
	if g.given >= snapshotAhead {
		timer := time.NewTimer(g.patience)
		defer timer.Stop()
		select {
		case <-g.opened:
		case <-timer.C:
			return 0, fmt.Errorf("the receiver had read nothing after %d bytes: the snapshot is not streamed", g.given)
		}
		limit = snapshotSize
	}
	if g.given == snapshotSize {
		return 0, io.EOF
	}
	n, err := g.random.Read(p[:min(len(p), limit-g.given)])
	g.given += n
	g.sum.Write(p[:n])
	return n, err
}

func checkInstallSnapshot(t *checker, h transportHarness) {
	a, b := h.pair(t)
	req := &raft.InstallSnapshotRequest{
		RPCHeader: header(a), SnapshotVersion: raft.SnapshotVersionMax, Term: 7, Leader: []byte(a.LocalAddr()),
		LastLogIndex: 900, LastLogTerm: 6, Peers: []byte("peers"),
		Configuration: []byte("configuration"), ConfigurationIndex: 800, Size: snapshotSize,
	}
	opened := make(chan struct{})
	state := newGatedState(opened, t.patience/2)
	var resp raft.InstallSnapshotResponse
	done := start(func() error { return a.InstallSnapshot("peer", b.LocalAddr(), req, &resp, state) })

	rpc := mustReceive(t, b.Consumer(), "InstallSnapshot at the peer's Consumer")
	wantEqual(t, "the request that arrived", rpc.Command, any(req))
	if rpc.Reader == nil {
		t.Fatal("InstallSnapshot came without a Reader")
	}
	sum := sha256.New()
	if n, err := io.CopyN(sum, rpc.Reader, snapshotFirst); err != nil {
		t.Fatalf("reading the start of the snapshot: %v after %d bytes", err, n)
	}
	close(opened)
	n, err := io.Copy(sum, rpc.Reader)
	if err != nil || n != snapshotSize-snapshotFirst {
		t.Fatalf("reading the rest of the snapshot: %d bytes, %v, want %d bytes", n, err, snapshotSize-snapshotFirst)
	}
	want := &raft.InstallSnapshotResponse{RPCHeader: header(b), Term: 8, Success: true}
	respond(rpc, want, nil)
	if err := mustReceive(t, done, "the end of InstallSnapshot"); err != nil {
		t.Fatalf("InstallSnapshot: %v", err)
	}
	wantEqual(t, "the response that came back", &resp, want)
	if !bytes.Equal(sum.Sum(nil), state.sum.Sum(nil)) {
		t.Error("the receiver has read other bytes than the sender gave")
	}
}

// checkInstallSnapshotError: the receiver refuses after it has read everything;
// and, on the sender's side, the state cannot be read.
func checkInstallSnapshotError(t *checker, h transportHarness) {
	const refusal = "no room for the snapshot"
	a, b := h.pair(t)
	serve(t, b, func(rpc raft.RPC) {
		if _, err := io.Copy(io.Discard, rpc.Reader); err != nil {
			respond(rpc, nil, err)
			return
		}
		respond(rpc, new(raft.InstallSnapshotResponse), errors.New(refusal))
	})
	err := transportCalls(a, b)["InstallSnapshot"]()
	if err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("InstallSnapshot that the handler refused: error is %v, want one that says %q", err, refusal)
	}

	req := &raft.InstallSnapshotRequest{Term: 1, Size: 1000}
	broken := io.MultiReader(strings.NewReader("a few bytes"), failingReader{})
	failed := start(func() error {
		return a.InstallSnapshot("peer", b.LocalAddr(), req, new(raft.InstallSnapshotResponse), broken)
	})
	if err := mustReceive(t, failed, "the end of InstallSnapshot with a state that cannot be read"); err == nil {
		t.Error("InstallSnapshot with a state that cannot be read: no error")
	}
}

type failingReader struct{}

// Read implements io.Reader.
func (failingReader) Read([]byte) (int, error) { return 0, errors.New("the state cannot be read") }
