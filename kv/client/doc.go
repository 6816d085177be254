// Package client is the Go client of kvnode. It finds the leader, goes on to
// another node where one fails, and tells of every write whether it took effect,
// did not, or may have. It never sends a write a second time unless it is certain
// that the first try was not taken: no byte of it left this process, or the node
// said so.
//
// # What an error means
//
// Of a write, an error that is [ErrOutcomeUnknown] leaves its fate open: it
// may have taken effect, or may yet, even after later writes. With any other
// error nothing was written. Compare with [errors.Is]:
//
//   - [ErrNotFound]: no such key, or member
//   - [ErrCondition]: the condition did not hold; a *[ConditionError] has the details
//   - [ErrInvalid]: the request is malformed or too large
//   - [ErrUnreachable]: no node answered before the deadline
//   - [ErrNotLeader]: nodes answered until the deadline, but none found a leader
//   - [ErrStopped]: the node that answered last is stopping, or its store has failed
//   - [ErrNotReady]: the node that answered last has not caught up, or has no room
//   - [ErrClosed]: the Client was closed before
//
// What a node answered is an *[Error] in the chain. An answer without the header by
// which a kvnode says its id is none of a node, whatever its status: a read goes on to
// the next endpoint, and of a write it leaves the fate open.
//
// # Which node is asked
//
// Writes and reads that only the leader can confirm go to the leader first, as the
// nodes name it in their answers; anything else goes round. A node that failed is
// asked last for a while. A [Node] is one particular node: what is asked of it
// is sent there once and nowhere else.
package client
