// Package gossip is discovery by asking around: nodes find each other, and notice
// which fail, with hashicorp/memberlist (the SWIM protocol), and agree on the
// group that they found with package founding.
//
// It moves no data and changes no configuration: what it knows is late and
// sometimes wrong, and discovery/steward, which acts on it, reckons with
// that.
//
// # A node's life
//
//  1. Start, with the addresses of Raft and HTTP, once those are listened on.
//  2. Bootstrap. It returns the configuration to found a group with, or nil.
//  3. Start the replica with that.
//  4. Announce that there is state: after 3 if a group was founded, else once
//     the leader has added the node, which shows in the replica's status.
//  5. Leave, if the node goes for good; then Close.
//
// A node that dies between 2 and 4 finds in its [Store] what it promised.
//
// # Which nodes are let in
//
// Nodes of another cluster are told apart by memberlist's label on every message,
// and again by their metadata. With a key file all is encrypted and
// authenticated with AES-GCM; without one the network has to be trusted. That a
// node is refused is logged once, not with each packet.
//
// # Two nodes under one id
//
// memberlist goes on with the first for as long as that one lives, and all log an error.
// Once Know has told which the members are, only the node that has the member's data
// goes for it, also if it is the second; a member's address is never that of another
// node. What is told is only a hint all the same: members prove to each other which
// they are when they connect (core/handshake).
//
// # What is told
//
// A node's metadata (at most 512 bytes): id, incarnation, cluster, addresses, whether it
// votes and has state, the core.GroupID of its group, and what it proposes or promises
// while a group is founded. Nodes that failed or left are remembered for Config.ReapAfter.
// The last metadata of those that left goes with each comparison of all that two nodes
// know: memberlist's own goodbye has none, and who hears that first hears no more.
package gossip
