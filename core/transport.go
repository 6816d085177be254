package core

import (
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Transport carries one member's Raft messages as structs: raft.Transport with
// pre-vote and close, which hashicorp/raft keeps as optional interfaces that a
// wrapper loses too easily.
//
//   - Concurrency: all methods may be called concurrently.
//   - Ordering: the requests of one AppendPipeline arrive in the order sent. A transport
//     without pipelines returns raft.ErrPipelineReplicationNotSupported itself.
//   - Ownership: a request and all it points to must not be changed by either
//     side once sent; an in-memory transport hands over the very same structs.
//   - Errors: a call to a peer that is gone, or that closes meanwhile, returns
//     an error and never hangs. After Close calls fail; Close is idempotent,
//     ends the calls that are out and frees the address.
//   - Heartbeats: an AppendEntries request with a term and a leader and nothing else
//     (no entries, previous entry or commit index) goes to the handler that
//     SetHeartbeatHandler has set, at once, whatever waits at Consumer or is being
//     answered: a leader must not be deposed because a follower's disk is slow.
//     Every other request goes to Consumer, and while no handler is set, so do these.
type Transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// Interceptor is a Transport that lets its owner look at requests before they go to
// Consumer or to the heartbeat handler. handle is called on the goroutine that
// delivers, with all that has come; true: it has answered, and the request goes no
// further. It may replace the request's command, not change it; where the request goes
// then depends on the new one. Intercept is called
// before the first request can come. It is optional; without it an engine
// puts a goroutine in between.
type Interceptor interface {
	Intercept(handle func(*raft.RPC) bool)
}

// Wire moves bytes between members: it dials and listens, and knows nothing of
// Raft. An engine puts its own framing on top, so that another engine can ride
// the same wire, under the same delays and cuts. raft.StreamLayer satisfies it.
//
// Addr is the address that other members dial. Close stops Accept; connections
// already made live on until closed themselves.
type Wire interface {
	net.Listener

	// Dial opens a connection to the member at address within timeout
	// (0: no limit).
	Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error)
}

// Link is one member's end of a [Network]. Exactly one field is set: Wire where
// bytes are moved and the engine frames Raft's messages, Transport where the network
// takes them as structs: it hands them over in memory, or has a framing of its own.
type Link struct {
	Wire      Wire
	Transport Transport
}

// Address returns the address that other members reach this link under.
func (l Link) Address() string {
	if l.Wire != nil {
		return l.Wire.Addr().String()
	}
	return string(l.Transport.LocalAddr())
}

// Close closes whichever end is set.
func (l Link) Close() error {
	if l.Wire != nil {
		return l.Wire.Close()
	}
	return l.Transport.Close()
}

// Network makes the links of one group of members. Two networks that stay within the
// process (NetworkInfo.Remote is false) never see each other, whatever their addresses;
// those of the others are the machine's.
type Network interface {
	// Listen makes a link that is reachable as bind. An empty bind, or port 0,
	// lets the network choose; Link.Address tells what it chose. The caller owns
	// the link and closes it, or hands it to a replica.
	Listen(bind string) (Link, error)

	// Describe says what the network is.
	Describe() NetworkInfo
}

// NetworkInfo describes a network.
type NetworkInfo struct {
	Name    string // as in the catalogue, e.g. "tcp"
	Library string // module path of the library that moves the bytes; empty for the standard library or our own code
	Version string // its version as linked into this program
	Wire    bool   // true: links have a Wire, and the engine frames messages; false: they have a Transport
	Remote  bool   // true: members in other processes are reached; false: only those made by the same Network
}
