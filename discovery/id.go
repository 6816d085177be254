package discovery

// MaxIDBytes bounds the id of a node, however the members find each other: it has to
// fit into what gossip carries of a node, beside its addresses. A node may gossip one
// day that does not today.
const MaxIDBytes = 64
