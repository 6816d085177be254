// Package stats turns the samples of a run into medians, intervals and
// comparisons. All functions are pure: same samples, same result, on any
// machine. It never reads files, prints, or decides what is worth telling.
//
// The unit of replication is the trial. Operations of one trial share the
// process, the leader and the state of the disk, so their latencies are not
// independent; what a trial contributes is one value of each statistic (its
// throughput, its p50, its p99). Every summary and every test here works on
// those values, n = number of trials. Percentiles are never averaged: a cell's
// p50 is the median over its trials of each trial's p50. Histograms are merged
// only to draw a distribution.
//
// # Intervals
//
// An interval says how likely it is to hold the true value: [Summary.Coverage],
// [Comparison.Coverage]. That is a matter of the number of trials alone, with no
// assumption about their distribution, and at least 95 % from six trials on; with three it
// is 75 %, with four 87.5 %, with five 93.75 %. Then, and in that of a median up to eight,
// the ends are the smallest and the largest. Below three trials there is no interval.
//
// # Comparisons
//
// Trials run in rounds, one of each cell, so cells of one run are compared within
// rounds: [Paired]. All comparisons looked at together are one family
// ([AdjustPaired]). Over several combinations of other factors [Stratify] joins the
// comparisons of two levels, and [Depend] asks whether they agree. Runs at different
// times share no rounds: [Unpaired].
//
// A comparison has one of three verdicts, [Differs], [Equal] within a margin and
// [Undecided], and says how many trials would decide ([Comparison.Needed]).
// docs/statistics.md explains all that without formulas, with a simulation of how
// often it errs.
//
// # What explains the variation, and what happens within a trial
//
// [Allocate] shares the variation over a full matrix out to its factors. [Effective],
// [CheckWindow] and [CheckWarmup] look at the course of a trial.
package stats
