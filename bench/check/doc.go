// Package check judges histories: what clients asked of a map of registers, what
// they were told, and when. [Check] says whether that is linearizable, and if not,
// which answer could not have been given.
//
// # The model
//
// Each key is a register of its own. It holds a value or is absent. Every write
// sets a value that no other write sets, so a compare-and-set by the log index of
// a value that was read is one by the value.
//
// The outcome of an operation is one of four. An acknowledged one took effect
// between its call and its return. One whose condition failed saw that in between.
// A refused one never took effect: it is no part of the history, but its value must
// not be seen. One whose outcome is unknown may take effect at any time after its
// call, or never: its return is infinitely late, where it harms nobody.
//
// Checking is by porcupine, one key after another, which is exponential in the
// number of operations under way at once, so a key that takes too long is unknown.
// Unknown writes that nobody has seen are left out where that changes nothing.
//
// Raft gives more to check than a register: one log index belongs to one write, and
// a value keeps its index.
package check
