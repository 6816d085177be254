// Package audit finds out whether a group of kvnodes has kept what it
// acknowledged. [Load] writes and keeps a journal of what became of each write;
// [Check], at once or much later and in another process, reads the journal and
// compares it with what every node holds. It starts and stops no nodes.
//
// # The model
//
// The fate of a write is one of three. An acknowledged write has taken effect and
// must be found. A refused one must not be found. One whose outcome is unknown may
// be found, or not, and it may take effect at any later time: a request can lie in
// a socket or with a node that forwards it while later writes are acknowledged.
// In the terms of linearizability such a write has no end.
//
// So an unknown write could rightly replace a later one to the same key. To keep
// the check exact, nobody ever writes to such a key again: a key belongs to one
// worker, which has one write under way at a time and leaves the key for a fresh
// one once an outcome is unknown. Each key then has at most one unknown write,
// its last, and what a node that has caught up may hold is
//
//   - the last acknowledged write of the key, or
//   - its unknown write, if it has one.
//
// Anything else is a [Finding]. The same holds for deletes, after which a key must
// be gone, and for batches: an unknown batch has to be there as a whole or not
// at all.
//
// Every value says which write it is, and ends in a checksum, so that a mix-up or
// a cut is told from an old value.
//
// # The journal
//
// One JSON object a line: a header; then for each write one line before it is sent
// and one when its fate is known. The first has left the process before the
// write does, so what is missing at the end, however the load died, makes the
// check milder by what was under way and never wrong. A last line that was cut off
// is ignored. The journal is not flushed to the disk: it outlives the process, not
// the machine.
package audit
