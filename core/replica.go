package core

import (
	"cmp"
	"context"
	"log/slog"
	"time"
)

// Replica is one running member of a group, whatever the engine. All methods
// are safe for concurrent use.
type Replica interface {
	// Propose replicates command and returns once it is committed by a majority
	// and applied on this replica. Which disks hold it by then is what the log
	// stores of that majority declare.
	//
	// The command is copied: its bytes are the caller's again once Propose has
	// returned. An error that is ErrNotLeader or ErrClosed: the command was not appended, another
	// try is safe. One that is ErrOutcomeUnknown (ctx ended, leadership lost or
	// the replica stopped meanwhile): it may still be committed. A command that
	// the state machine refused is no error here: the refusal is the Result.
	Propose(ctx context.Context, command []byte) (Applied, error)

	// ReadBarrier returns once this replica has applied every command that was
	// acknowledged, anywhere in the group, before the call: a local read after
	// it is linearizable. Only the leader can do it (ErrNotLeader otherwise).
	// It follows the ReadIndex protocol (Raft dissertation, §6.4): no log entry
	// is written, except for one per term.
	ReadBarrier(ctx context.Context) error

	// ReadIndex and WaitApplied are the two halves of ReadBarrier, for a read
	// that another replica than the leader serves. ReadIndex returns an index
	// that covers every command acknowledged before the call, once a majority
	// has confirmed that this replica leads (ErrNotLeader otherwise); a replica
	// that has applied it may answer. Calls that wait together share a round.
	// WaitApplied returns once this replica, whatever its role, has applied index.
	ReadIndex(ctx context.Context) (uint64, error)
	WaitApplied(ctx context.Context, index uint64) error

	// LeaseBarrier is ReadBarrier on the strength of the leader's lease: nobody
	// is asked (but for one log entry per term). A local read after it can miss an
	// acknowledged write if clocks run at different speeds, or if the process
	// stood still for longer than the lease (Raft dissertation, §6.4.1).
	LeaseBarrier(ctx context.Context) error

	// Status returns a snapshot of what the replica knows. It never blocks on
	// the network or the disk.
	Status() Status

	// Add adds a member, or changes the address of one that is there. With m.Voter
	// it becomes a voter; without, a voter keeps its vote. A member of the same id
	// and another incarnation must be removed first (ErrReplaced): the group counts
	// on what that one has stored. Remove removes the member. They return once the
	// new configuration is committed. Leader only.
	Add(ctx context.Context, m Member) error
	Remove(ctx context.Context, id string) error

	// TransferLeadership hands leadership to the voter id, or, where id is
	// empty, to the most up-to-date voter. Leader only. A member that is unknown
	// (ErrNotFound) or has no vote (ErrInvalid) is refused, and the leader stays.
	TransferLeadership(ctx context.Context, id string) error

	// Snapshot writes a snapshot of the state machine and lets the log before it
	// be dropped. With nothing new to write it returns nil.
	Snapshot(ctx context.Context) error

	// Done is closed once the replica has stopped, by Close or because of a
	// failure that it must not survive (a log store that cannot write). Err then
	// tells the cause: nil after an orderly Close.
	Done() <-chan struct{}
	Err() error

	// Close stops the replica, waits for its goroutines and closes the link and
	// the log store it was started with. Idempotent. The data stays.
	Close() error
}

// Applied is what became of a proposal.
type Applied struct {
	Index  uint64 // log index of the command
	Result any    // what FSM.Apply returned for it
}

// Proposer is a Replica that takes a proposal without keeping its caller: many can be
// under way for one goroutine, which is woken when there is something to tell.
type Proposer interface {
	// Begin is Propose without the wait: the outcome goes to c, and means what it means
	// there. It returns once the engine has queued the command, which takes longer only
	// while the engine takes none, at most until the replica has stopped. Commands that
	// one goroutine begins one after the other are appended in that order, those left
	// out that were not appended at all. The command is the replica's from now on: its
	// bytes must not be changed any more.
	Begin(command []byte, c Completion)
}

// Completion takes the outcome of one proposal.
type Completion interface {
	// Complete is called exactly once, also before Begin has returned, and mostly by
	// the goroutine that applies commands: it must not block, nor call the replica.
	// The commands of a batch are completed in the order of their indexes.
	Complete(Applied, error)
}

// Campaigner is a Replica that can be told to stand for election at once, as
// the target of a leadership transfer does (Raft dissertation, §3.10), without
// waiting for an election timeout. The runner uses it to start a group under a
// known leader. It is safe at any time, as elections are, but for reads by lease: nobody
// waits for that of the present leader to run out.
type Campaigner interface {
	// Campaign returns once the candidacy was accepted locally, not once the
	// election is won.
	Campaign(ctx context.Context) error
}

// Prober is a Replica that can see whether a node answers, before that one is given
// a vote: a group that counts on one that does not can be left without a majority,
// and then nobody can take it out again.
type Prober interface {
	// Probe returns nil once m, of that incarnation and of this group or of none, has
	// answered at its address. It tells who that is, and where it serves clients.
	Probe(ctx context.Context, m Member) (Identity, error)
}

// Acquainted is a Replica that knows members by what they have proved when they
// connected: unlike anything else that is said of them, it cannot be another node's.
type Acquainted interface {
	// Acquaintance returns who the member id of the present configuration is, as of
	// its last connection to or from this replica. False: it has made none.
	Acquaintance(id string) (Identity, bool)
}

// Role is what a replica is at the moment.
type Role string

// The roles of a replica.
const (
	Follower  Role = "follower"
	Candidate Role = "candidate"
	Leader    Role = "leader"
	Stopped   Role = "stopped"
)

// Status is what a replica knows at one moment. The fields are read one after
// the other, so they need not be consistent with each other under load.
type Status struct {
	ID            string
	Incarnation   string
	Group         string // empty: none yet, or one without an id
	Address       string
	Role          Role
	Term          uint64
	LeaderID      string // empty: none known
	LeaderAddress string
	LastIndex     uint64    // newest entry in the log
	CommitIndex   uint64    // newest entry known to be committed
	AppliedIndex  uint64    // newest entry that the state machine has taken in
	SnapshotIndex uint64    // newest entry that the last snapshot covers
	LastContact   time.Time // when a follower last heard from the leader; zero: never, or is leader
	Members       []Member  // latest configuration, sorted by id
	// Stalled is how long a write to the log store has been under way, once that is
	// longer than Tuning.StallTimeout; 0: none has. A leader that has stalled leads
	// no more, whatever Role says: the others do not hear from it.
	Stalled time.Duration
	// Followers is what a leader knows of the others, sorted by id; nil elsewhere.
	Followers []FollowerStatus
}

// Member returns the member id of the latest configuration.
func (s Status) Member(id string) (m Member, member bool) {
	for _, m := range s.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// FollowerStatus is what a leader has learned from a member's last answer, which
// in a healthy group is at most a fifth of the heartbeat timeout old.
type FollowerStatus struct {
	ID          string
	LastIndex   uint64    // newest entry in its log
	LastContact time.Time // when it answered; zero: never in this term
	Address     string    // where it answered: that of the configuration, unless it has moved
}

// Member is one server of the group's configuration.
type Member struct {
	ID          string
	Incarnation string // of the data that the member was added with; empty: not known
	Address     string
	Voter       bool
}

// Engine makes replicas: one implementation of Raft.
type Engine interface {
	// Describe says what the engine is.
	Describe() EngineInfo

	// HasState says whether a replica on logs and dir, its ReplicaConfig.SnapshotDir,
	// would go on with a term, a vote or log entries that are there, wherever the engine
	// keeps them. Without them it begins anew, so no error may pass for an answer. A
	// snapshot alone is no state: it does not tell how the replica voted. It changes
	// nothing, and no replica runs on them meanwhile.
	HasState(logs LogStore, dir string) (bool, error)

	// Start makes a replica of cfg. On success the replica owns cfg.Logs and
	// cfg.Link and closes them; on an error both stay the caller's to close,
	// though the link may be closed already.
	Start(cfg ReplicaConfig) (Replica, error)
}

// EngineInfo describes an engine.
type EngineInfo struct {
	Name    string // as in the catalogue, e.g. "hashicorp"
	Library string // module path
	Version string // as linked into this program
	// Ours is what of a replica, beside its log store and its links, is this project's code and
	// not the library's: words such as "driver, snapshots".
	Ours string
}

// ReplicaConfig is all that an engine needs for one replica.
type ReplicaConfig struct {
	// ID names the member for good: it must not change between restarts.
	ID string
	// Incarnation is that of the data in Logs: see [Identity]. An empty log is
	// imprinted with it, one of another incarnation is refused. Empty: the log's.
	Incarnation string
	// Joined says that something beside the log knows that the node has been a
	// member of a group. A log without a term is then refused, as ErrLogLost.
	Joined bool
	// Service is what the others are told of where this node serves its clients.
	Service string

	FSM  FSM
	Logs LogStore
	Link Link

	// SnapshotDir is the folder for snapshots, made where missing. Empty keeps
	// snapshots in memory: only sensible with a log store that does, too.
	SnapshotDir string

	// Bootstrap is the first configuration of a new group, the same on each of
	// its members. It is used only where the log store is empty; a replica
	// without state and without Bootstrap waits to be added to a group.
	Bootstrap []Member

	// Locate says where a member may be reached when it is not at the address that
	// the configuration has for it. It is called from several goroutines and must
	// not block. It may be wrong: who answers there has to prove to be that member.
	// Nil: members do not move.
	Locate func(id string) (address string, known bool)

	// Tuning sets timeouts and sizes; zero fields keep the engine's defaults.
	Tuning Tuning

	// Logger takes the engine's own log lines. Nil is quiet.
	Logger *slog.Logger

	// Trace takes down where the time of each entry goes. Nil: nothing is.
	Trace Trace
}

// The values of Tuning.Persistence.
const (
	// Serial: the leader's log store first, then the followers.
	Serial = "serial"
	// Overlapped: both at the same time (Raft dissertation, §10.2.1).
	Overlapped = "overlapped"
)

// Tuning holds the knobs that every engine has. A zero field means the engine's
// default: docs/experiment.md lists them per engine. What only one engine knows is
// among its options. The tags are those of package conf: they are the [raft] table of
// every file that has one.
type Tuning struct {
	// HeartbeatTimeout: shorter makes failover faster, with more needless elections
	// when a disk or the scheduler stalls.
	HeartbeatTimeout time.Duration `key:"heartbeat_timeout" doc:"how long a follower goes without hearing from a leader before it stands for election"`
	ElectionTimeout  time.Duration `key:"election_timeout" zero:"heartbeat_timeout" doc:"how long a candidate waits for votes before it tries again; at least heartbeat_timeout"`
	// LeaderLeaseTimeout must not exceed HeartbeatTimeout.
	LeaderLeaseTimeout time.Duration `key:"leader_lease_timeout" doc:"how long a leader goes on without a quorum answering before it steps down; at most heartbeat_timeout, also if not set"`
	// CommitTimeout bounds how stale an idle follower is, not the latency of a write.
	CommitTimeout time.Duration `key:"commit_timeout" doc:"how long an idle leader waits before it tells followers of a new commit index"`
	// MaxAppendEntries: larger means fewer disk writes under load, and longer ones. An
	// engine also bounds the bytes of a message.
	MaxAppendEntries int `key:"max_append_entries" doc:"how many entries one AppendEntries message holds at most"`
	MaxInFlight      int `key:"max_in_flight" doc:"how many AppendEntries messages may be under way to one follower; 1 turns pipelining off"`

	// Persistence is what a leader does first with a new entry: [Serial] or [Overlapped].
	// Either way an entry counts as committed only once it is durable on a majority that
	// includes the leader, and members may differ.
	Persistence string `key:"persistence" oneof:"serial overlapped" doc:"a leader writes an entry to its log store before it sends it to the followers (serial), or at the same time (overlapped); committed is an entry only once the leader has it too"`

	SnapshotInterval  time.Duration `key:"snapshot_interval" max:"8760h" doc:"how often a replica looks whether to snapshot"`
	SnapshotThreshold uint64        `key:"snapshot_threshold" max:"1000000000000" unit:"entries" doc:"how many new entries make a snapshot worth it"`

	// StallTimeout is how long a write to the log store may take (a disk may hang and
	// give no error) before a leader stops sending heartbeats, so that a member whose
	// disk works is elected, and refuses calls with ErrNotLeader. Zero: the heartbeat
	// timeout, after which the group would not wait for a leader that is gone either, but
	// at least 1 s, which a busy disk may take for a flush. Shorter: less waiting, more
	// needless elections.
	StallTimeout time.Duration `key:"stall_timeout" zero:"heartbeat_timeout, at least 1s" doc:"how long a write to the log store may take before a leader gives way"`
	// StallLimit is how long a write may take before the replica stops, as it does
	// after one that fails; the cause is an ErrStalled. Zero: ten heartbeat timeouts,
	// at least 10 s and twice StallTimeout. Before that a member whose disk comes back
	// goes on. It also bounds how long Close waits for the log store.
	StallLimit time.Duration `key:"stall_limit" zero:"10 × heartbeat_timeout, at least 10s and twice stall_timeout" doc:"how long a write to the log store may take before the replica stops"`
}

// Over returns t with the fields that it leaves out as defaults has them. What follows
// HeartbeatTimeout stays out where t has one of its own: the engine derives it.
func (t Tuning) Over(defaults Tuning) Tuning {
	if t.HeartbeatTimeout > 0 {
		defaults.ElectionTimeout, defaults.LeaderLeaseTimeout, defaults.StallTimeout, defaults.StallLimit = 0, 0, 0, 0
	}
	return Tuning{
		HeartbeatTimeout:   cmp.Or(t.HeartbeatTimeout, defaults.HeartbeatTimeout),
		ElectionTimeout:    cmp.Or(t.ElectionTimeout, defaults.ElectionTimeout),
		LeaderLeaseTimeout: cmp.Or(t.LeaderLeaseTimeout, defaults.LeaderLeaseTimeout),
		CommitTimeout:      cmp.Or(t.CommitTimeout, defaults.CommitTimeout),
		MaxAppendEntries:   cmp.Or(t.MaxAppendEntries, defaults.MaxAppendEntries),
		MaxInFlight:        cmp.Or(t.MaxInFlight, defaults.MaxInFlight),
		Persistence:        cmp.Or(t.Persistence, defaults.Persistence),
		SnapshotInterval:   cmp.Or(t.SnapshotInterval, defaults.SnapshotInterval),
		SnapshotThreshold:  cmp.Or(t.SnapshotThreshold, defaults.SnapshotThreshold),
		StallTimeout:       cmp.Or(t.StallTimeout, defaults.StallTimeout),
		StallLimit:         cmp.Or(t.StallLimit, defaults.StallLimit),
	}
}
