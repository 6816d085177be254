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
// The 95 % intervals are percentile-bootstrap intervals (Efron & Tibshirani, An
// Introduction to the Bootstrap, 1993, ch. 13). The bootstrap distribution of a
// median has a closed form (Efron, The Jackknife, the Bootstrap and Other
// Resampling Plans, 1982, §10.2), so it is computed exactly: nothing is
// resampled, and no seed is involved.
//
// With few trials such an interval is coarse. Its ends are trials (or midpoints
// between two), and for n <= 5 it is the whole range from the smallest trial to
// the largest. How likely it is to hold the true median follows from the order
// of the trials alone: 75 % for n = 3, 87.5 % for n = 4, 93.75 % for n = 5,
// 87.5 % for n = 7, 97.9 % for n = 10. [Summary.Coverage] has it for any n and is
// what a report should print beside the nominal 95 %. Below n = 3 there is no
// interval.
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
