// Package hunt looks for writes that a group of kvnode processes loses, reads that
// are stale, refusals that leave an operator alone, and groups that stand still.
//
// A [Round] is one group of 3 or 5 nodes, a load of its clients, and a schedule of
// faults that follows from a seed: which, in what order, for how long, and the roles
// of whom they hit. What happens then depends on the machine as well, so the same
// schedule is no promise of the same end, but a good bet.
//
// The schedule never destroys what a majority needs: of the data of one node at a time
// anything may become, until a new folder in its place has caught up. All else may
// befall any number of nodes at once. Two things are therefore asked of the group:
// whatever happens, no answer may be wrong (package check), and once all is well again
// it has to be whole within [healTime].
//
// A node that is refused, or keeps out of its group, must say so without a traceback
// and name the next command. The hunt does then what such texts say: it moves the
// folder away, starts the node with --join (under gossip: as it was), and removes the
// member first if that alone does not help.
package hunt
