// Package client is the Go client of kvnode. It finds the leader, goes on to
// another node where one fails, and tells of every write whether it took effect,
// did not, or may have. It never sends a write a second time unless it is certain
// that the first try was not taken: no byte of it left this process, or the node
// said so.
//
// # What an error means
//
// Of a write, an error that is [core.ErrOutcomeUnknown] leaves its fate open: it
// may have taken effect, or may yet, even after later writes. With any other
// error nothing was written. Compare with [errors.Is]:
//
//   - [core.ErrNotFound]: no such key, or member
//   - [ErrCondition]: the condition did not hold; a *[ConditionError] has the details
//   - [core.ErrInvalid]: the request is malformed or too large
//   - [ErrUnreachable]: no node answered before the deadline
//   - [core.ErrNotLeader]: nodes answered until the deadline, but none found a leader
//   - [core.ErrClosed]: the node that answered last is stopping
//
// What a node answered is an *[Error] in the chain.
//
// # Which node is asked
//
// Writes and reads that only the leader can confirm go to the leader first, as the
// nodes name it in their answers; anything else goes round. A node that failed is
// asked last for a while. A [Node] is one particular node: what is asked of it
// is sent there once and nowhere else.
package client
