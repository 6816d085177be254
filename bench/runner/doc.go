// Package runner turns an experiment into a run folder: it starts a group for
// each trial, puts the load on it, checks that the trial is valid and records
// what was seen. It computes no statistics and prints nothing: that is done from
// the run folder alone, by bench/stats and bench/report.
//
// The steps of a run:
//
//  1. The matrix is expanded into cells, and each cell's parts are looked up in
//     the catalogues, so that a wrong name or option fails before anything runs.
//  2. The machine is described and calibrated.
//  3. Trials run in rounds: each round takes every cell once, in an order
//     shuffled by the seed, so that a drift of the machine falls on all cells
//     alike (a randomised complete block design).
//  4. Each trial is a new group in a new folder under the data directory. It is
//     written to the run folder as soon as it is over: what was measured
//     survives Ctrl-C, a crash and a full disk, and Resume runs the rest.
//
// Where the experiment measures a formation, no load is put on the group: the
// trial watches its processes become one, and then listens to it at rest.
package runner
