// Package founding decides, node by node, which nodes found a group together.
//
// Raft is safe only if all members of a new group start from the same
// configuration: with {1,2,3} on one node and {1,2,4} on another, {2,3} and
// {1,4} are majorities without a common node. Nodes that find each other by gossip
// see each other late, in any order, and some wrongly as dead. So seeing enough
// nodes is not enough: they have to agree.
//
// # Protocol
//
// Each node publishes a [Record]. [Step] looks at a node's own record and at
// those it knows of others, and says what to do next:
//
//  1. Propose: with at least Expect candidates in sight (alive, without state,
//     voters, not promised), publish the set of the Expect smallest ids among
//     them. A proposal binds no node and follows what is seen.
//  2. Promise: once all members of the proposed set are seen to propose that very
//     set, promise it: store it, then publish it. A node also promises a set that
//     names it and that another node has promised, where that comes before its
//     own proposal. A node promises one set in its life, restarts included.
//  3. Found: once all members of the promised set are seen to have promised it, or
//     one of them has founded it, bootstrap it.
//  4. Join: a node that sees one with state founds nothing and waits to be
//     added by the leader of the group there is.
//
// A set names ids, incarnations and Raft addresses, as fingerprints small enough for
// gossip. So a promise is of an incarnation (core.Identity): a node that has lost its
// data is another founder, one that has promised nothing and that no other has promised
// to found with.
//
// # Safety
//
// Invariant: two founded configurations are the same or have no member in common,
// where a member is an id with an incarnation.
// Proof: a node that founds C has seen, for each member, that it promised C, at
// whatever time: a promise is for ever, so old news are as good as new ones, and
// a member that has died meanwhile still counts. A member of both C and C' would
// have promised both. Nothing is assumed of the network, of clocks or of the
// failure detector.
//
// It rests on the promise being stored before it is published, and beside the
// incarnation: a node may lose both, as where its disk is wiped or it keeps nothing
// on disk, but not the promise alone.
//
// Two configurations without a common member need 2·Expect founders, where one that
// lost its data counts anew. Expect is the number of first voters; where twice as
// many start at once, most orders of events lead to one group, as a node that sees that
// smaller ids have promised waits for them, but not all do: if the larger ids promise first, or neither half sees the other, two groups
// are founded. It is noticed when they see each other: each group has an id, the
// core.GroupID of its founders, which travels with the nodes' records; nodes of two
// groups are never put into one, and an error is logged. To be sure, have fewer than
// 2·Expect nodes expect to found, and the others join.
//
// # Progress
//
// With Expect candidates that stay up all of them found. With more, and as long as
// none fails meanwhile, the proposals of every node only get smaller in the order of
// their ids; so of all sets that are ever promised the smallest is held by
// members that can promise nothing smaller later, and it is founded; those not
// in it join. A promise is never taken back, for another node may have founded on
// its strength. Where a promised member fails, or loses its data, before its own
// promise was seen, the others wait for it, and the reason says so. A promise that
// cannot be kept (a member promised another set, or belongs to another group) keeps
// no node from joining.
package founding
