// Package api holds what kvnode and its clients say to each other over HTTP:
// paths, headers, JSON bodies and error codes. docs/http-api.md is the manual.
// It holds types only: it neither serves nor sends anything.
package api

import (
	"net/http"
	"slices"
	"time"
)

// Headers.
const (
	// HeaderLeader is the HTTP address (host:port) of the leader as far as the
	// answering node knows it; absent where it knows none.
	HeaderLeader = "X-Raft-Leader"
	// HeaderLeaderID is that leader's id.
	HeaderLeaderID = "X-Raft-Leader-Id"
	// HeaderNode is the id of the node that answered the client, HeaderIncarnation that
	// of its data, and HeaderGroup the group that it is in; absent where there is none.
	// A request may say Group too: a node of another one, or of none, then refuses it.
	HeaderNode        = "X-Raft-Node"
	HeaderIncarnation = "X-Raft-Incarnation"
	HeaderGroup       = "X-Raft-Group"
	// HeaderIndex is the log index of the entry that a write became.
	HeaderIndex = "X-Raft-Index"
	// HeaderForwarded is the id of the node that forwards a request. The node that gets
	// it does not forward it. LeaderID, Incarnation and Group then say which node it is
	// for; every other one refuses it.
	HeaderForwarded = "X-Raft-Forwarded"
)

// Values of the query parameter "consistency" of reads.
const (
	Linearizable = "linearizable" // the default: a read barrier on the leader
	Leader       = "leader"       // answered by the leader on the strength of its lease
	Stale        = "stale"        // what the asked node holds
)

// Code is what kind an error is, for programs.
type Code string

// The codes. Only CodeOutcomeUnknown leaves open whether a write took effect; with
// any other it did not.
const (
	CodeBadRequest       Code = "bad_request"
	CodeNotFound         Code = "not_found" // no such path or member; a missing key has a body of its own
	CodeForbidden        Code = "forbidden" // 403: a web page's request that would change something
	CodeMethodNotAllowed Code = "method_not_allowed"
	CodeConditionFailed  Code = "condition_failed"
	CodeTooLarge         Code = "too_large"
	CodeNoLeader         Code = "no_leader"       // none within the request's deadline
	CodeNotLeader        Code = "not_leader"      // to a forwarded request only
	CodeOtherGroup       Code = "other_group"     // the request is for another group than the node's
	CodeStopped          Code = "stopped"         // the node is stopping or its store has failed
	CodeNotReady         Code = "not_ready"       // not yet able to do what was asked
	CodeOverloaded       Code = "overloaded"      // the node holds as much, or as many connections, as it may
	CodeTimeout          Code = "timeout"         // a read, or a write that was never sent
	CodeOutcomeUnknown   Code = "outcome_unknown" // the write may have taken effect, or may yet
	CodeInternal         Code = "internal"
)

// Codes returns all codes.
func Codes() []Code {
	return []Code{CodeBadRequest, CodeNotFound, CodeForbidden, CodeMethodNotAllowed, CodeConditionFailed, CodeTooLarge, CodeNoLeader,
		CodeNotLeader, CodeOtherGroup, CodeStopped, CodeNotReady, CodeOverloaded, CodeTimeout, CodeOutcomeUnknown, CodeInternal}
}

// NotDone reports whether the code rules out that a write took effect. One that is not
// among [Codes], of a later version maybe, rules out nothing.
func (c Code) NotDone() bool { return c != CodeOutcomeUnknown && slices.Contains(Codes(), c) }

// Status returns the HTTP status of an answer with the code.
func (c Code) Status() int {
	switch c {
	case CodeBadRequest:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeForbidden:
		return http.StatusForbidden
	case CodeMethodNotAllowed:
		return http.StatusMethodNotAllowed
	case CodeConditionFailed:
		return http.StatusPreconditionFailed
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeNoLeader, CodeNotLeader, CodeOtherGroup, CodeStopped, CodeNotReady, CodeOverloaded:
		return http.StatusServiceUnavailable
	case CodeTimeout, CodeOutcomeUnknown:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// Error is the body of every response that is an error, but for a missing key.
type Error struct {
	Error  string `json:"error"`
	Code   Code   `json:"code"`
	Leader string `json:"leader,omitempty"` // id, with CodeNotLeader
}

// Pair is one key of a page. A key or value that is not valid UTF-8 stands in
// the base64 field instead (standard encoding, padded).
type Pair struct {
	Key         string `json:"key,omitempty"`
	Value       string `json:"value"`
	KeyBase64   string `json:"key_base64,omitempty"`
	ValueBase64 string `json:"value_base64,omitempty"`
	Index       uint64 `json:"index"`
}

// Page is the answer to GET /key.
type Page struct {
	Pairs []Pair `json:"pairs"`
	// Next is what to give as "after" to get the next page, percent-encoded;
	// absent on the last one.
	Next string `json:"next,omitempty"`
}

// Status is the answer to GET /status.
type Status struct {
	Me        Node       `json:"me"`
	Leader    *Peer      `json:"leader"` // null: none known
	Followers []Follower `json:"followers"`
	// Gossip is what gossip knows of all nodes, members or not, sorted by id;
	// absent on a node that does not gossip.
	Gossip []GossipPeer `json:"gossip,omitempty"`
}

// Node is what the answering node knows of itself.
type Node struct {
	Peer
	Group         string  `json:"group"` // empty: it is in none
	Role          string  `json:"role"`  // follower, candidate, leader, stopped
	Voter         bool    `json:"voter"`
	Term          uint64  `json:"term"`
	LastIndex     uint64  `json:"last_index"`
	CommitIndex   uint64  `json:"commit_index"`
	AppliedIndex  uint64  `json:"applied_index"`
	SnapshotIndex uint64  `json:"snapshot_index"`
	LastContactMS float64 `json:"last_contact_ms"` // since it last heard from the leader; 0 on the leader, -1: never
	UptimeS       float64 `json:"uptime_s"`
	PID           int     `json:"pid"`
	Version       string  `json:"version"`
	Keys          int     `json:"keys"`
	Commands      uint64  `json:"commands"` // applied since the beginning of the log
	// Features are what not every version can do; see [FeatureRestore].
	Features []string `json:"features,omitempty"`
	// Restoring is the id of the restore that is under way; empty: none is.
	Restoring string `json:"restoring,omitempty"`
	Store     Store  `json:"store"`
	Transport string `json:"transport"`
}

// FeatureRestore: the node knows the commands by which a restore replaces the map.
const FeatureRestore = "restore"

// Store says which log store a node runs on.
type Store struct {
	Name       string `json:"name"`
	Durability string `json:"durability"`
	// Persistence is "serial" or "overlapped": whether a leader writes to it before
	// it sends an entry to the followers, or at the same time. Empty: as its engine does
	// where nothing is said.
	Persistence string `json:"persistence,omitempty"`
	// Syncs counts its flushes since the start; null where it does not count.
	Syncs *uint64 `json:"syncs"`
}

// Parts are what a kvnode would run with its settings; kvnode --describe prints them.
type Parts struct {
	Engine     Part   `json:"engine"`
	Backend    Part   `json:"backend"`
	Transport  Part   `json:"transport"`
	Durability string `json:"durability"` // of a write to the log store that has returned
	Wire       bool   `json:"wire"`       // the engine frames what the transport moves
	// Settings of Raft ("raft.persistence") and of the engine ("hashicorp.batch_apply"),
	// defaults included, as text. Timeouts that follow another one are left out.
	Settings map[string]string `json:"settings"`
}

// Part is a plug-in and the library behind it, as linked into the program.
type Part struct {
	Name    string `json:"name"`
	Library string `json:"library,omitempty"`
	Version string `json:"version,omitempty"`
	Ours    string `json:"ours,omitempty"` // as core.EngineInfo has it
}

// Peer names a member.
type Peer struct {
	ID string `json:"id"`
	// Incarnation is that of the data that the member was added with; empty: not known.
	Incarnation string `json:"incarnation,omitempty"`
	Address     string `json:"address"`                // Raft
	HTTPAddress string `json:"http_address,omitempty"` // empty: not known yet
	// RESPAddress is where it serves the Redis protocol; empty: nowhere, or not known.
	RESPAddress string `json:"resp_address,omitempty"`
}

// Follower is a member that does not lead. What the leader alone knows is null
// in the answers of others.
type Follower struct {
	Peer
	Voter         bool     `json:"voter"`
	LastIndex     *uint64  `json:"last_index"`      // newest entry in its log when it last answered
	Lag           *uint64  `json:"lag"`             // entries that it is behind the leader's log
	LastContactMS *float64 `json:"last_contact_ms"` // since it last answered; null: never
}

// GossipPeer is a node as gossip sees it, which may be late or wrong.
type GossipPeer struct {
	Peer
	GossipAddress string    `json:"gossip_address"`
	State         string    `json:"state"` // alive, failed, left
	Since         time.Time `json:"since"` // of the state, by the clock of the node that answers
	Voter         bool      `json:"voter"` // wants to vote
}

// Member is one server of the configuration.
type Member struct {
	Peer
	Voter  bool `json:"voter"`
	Leader bool `json:"leader"`
}

// Members is the answer to GET /members.
type Members struct {
	Members []Member `json:"members"`
}

// Join is the body of POST /join.
type Join struct {
	ID string `json:"id"`
	// Incarnation is that of the node's data; empty: that which the group knows.
	Incarnation string `json:"incarnation,omitempty"`
	// Group is the group that the node is in; empty: none.
	Group       string `json:"group,omitempty"`
	Address     string `json:"address"`      // Raft
	HTTPAddress string `json:"http_address"` // host:port
	Nonvoter    bool   `json:"nonvoter,omitempty"`
	// HasState says that the node has been a member of a group: this one, if it has
	// such a member, and otherwise it is refused.
	HasState bool `json:"has_state,omitempty"`
}

// Transfer is the body of POST /transfer. An empty one picks the most up-to-date
// voter.
type Transfer struct {
	ID string `json:"id,omitempty"`
}

// ReadIndex is the answer to GET /internal/read-index.
type ReadIndex struct {
	Index uint64 `json:"index"`
}

// Proposed is the answer to POST /internal/propose, by which nodes forward commands of
// package kv: what the command has changed, or the condition that failed.
type Proposed struct {
	Index    uint64 `json:"index"`
	Changed  int    `json:"changed"`
	Missing  []int  `json:"missing,omitempty"` // deletions, by their place in a batch, of keys that were not there
	Failed   bool   `json:"failed,omitempty"`  // a condition did not hold
	Key      []byte `json:"key,omitempty"`     // of the condition
	KeyIndex uint64 `json:"key_index,omitempty"`
}

// Digest is the answer to GET /digest: two nodes with the same digest hold the
// same map.
type Digest struct {
	ID       string `json:"id"`
	Keys     int    `json:"keys"`
	Commands uint64 `json:"commands"`
	SHA256   string `json:"sha256"` // hex
}

// Limits of requests, beside those of package kv.
const (
	DefaultTimeout = 5 * time.Second // of a request that gives none
	MaxTimeout     = 5 * time.Minute
	// MaxValueBytes and MaxBatchBytes are what one write may carry. The map could
	// hold more, but one log entry travels in one message, and a slow disk or
	// network must take it within the engine's timeout.
	MaxValueBytes = 16 << 20
	MaxBatchBytes = 16 << 20 // body of POST /key
	// MaxCommandBytes is what a command of package kv with the largest write takes.
	MaxCommandBytes  = 17 << 20
	DefaultPageLimit = 100
	MaxPageLimit     = 1000
)

// Limits of what clients together can make a node hold. What goes beyond is refused
// with [CodeOverloaded]; a slower client is cut off.
const (
	MaxHeldBytes = 256 << 20 // for the bodies and answers of all requests under way
	// MaxConnections is how many connections a node holds; less where the system
	// allows it few files. Those that wait for a next request are closed first.
	MaxConnections = 1024
	// MinBytesPerS is how fast a body has to come and an answer has to be taken, on
	// average, once Patience is over.
	MinBytesPerS = 256 << 10
	Patience     = 10 * time.Second
	// HalfClosed is how much longer a request goes on, within its deadline, once the
	// client's side of its connection has ended. A client that has gone and one that
	// sends no more but wants its answer look alike.
	HalfClosed = 5 * time.Second
)
