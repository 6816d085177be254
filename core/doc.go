// Package core names the contracts of a replicated state machine: the log
// store, the transport, the state machine and the replica that an engine makes
// of them. It holds interfaces, small value types and error kinds only; it
// never stores, sends, measures or logs anything itself.
//
//	       ┌──────────────────── Replica ────────────────────┐
//	       │ Propose   ReadBarrier   Status   AddVoter   …    │
//	       └──────────────────────┬──────────────────────────┘
//	                      Engine (engines/*)
//	       ┌──────────────┬───────┴───────┬──────────────────┐
//	       ▼              ▼               ▼                  ▼
//	FSM (kv)    LogStore (backends/*)   Link (transports/*)  snapshots
//
// How a command travels:
//
//  1. A client calls [Replica.Propose] on the leader.
//  2. The leader appends the command to its own [LogStore] and sends it to the
//     other members over its [Link].
//  3. Every member stores the entry and acknowledges it. What "stores" means is
//     what the store declares: see [Durability].
//  4. Once a majority of the voters holds the entry, it is committed.
//  5. Every member applies committed entries, in index order, to its [FSM]. On
//     the leader the result of Apply is what Propose returns.
//
// # Glossary
//
//   - term: a period with at most one leader, counted up by elections.
//   - index: the position of a log entry, from 1 and without gaps.
//   - log entry: a command, a configuration, a no-op or a barrier, with its
//     term and index.
//   - commit: an entry is committed once a majority of voters stores it in the
//     leader's term; it is never lost after that.
//   - apply: running a committed command against the state machine.
//   - quorum: a majority of the voters.
//   - leader: the one member that accepts proposals in its term.
//   - voter, non-voter: a member that counts for the quorum, or only follows.
//   - incarnation: a node's data, from when they were made until they are lost; a
//     member is an id with an incarnation.
//   - group: the members that one founding has led to; its id follows from it.
//   - lease: the time for which a leader may assume it was not deposed.
//   - snapshot: the state machine written out as of an index, so that the log
//     before it can be dropped.
//
// # Plugging in
//
// A third party implements [LogStore] (or adapts any hashicorp/raft store with
// [AdaptStore]), [Network] or [Engine], runs the suites of package
// core/coretest against it, and registers a constructor in the catalogue of
// backends, transports or engines.
package core
