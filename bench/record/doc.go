// Package record is the run folder: what a run was and all that it measured,
// as files that can be read, judged and reported on again years later. It
// writes and reads those files and checks that they are whole; it never
// measures, summarises or prints.
//
// # Layout
//
//	manifest.json            what was asked for, on which machine, in which order
//	experiment.toml          the experiment file, byte for byte as it was given
//	trials/<cell>-t<NN>.json one file for each finished trial: the raw data
//	results.csv              everything from here on is made from the above
//	report.md  report.html   (and report.ru.md, report.ru.html)
//	plots/*.svg
//	raft.log                 what the engines logged; never read again
//	.lock                    held by the runner that writes to the folder
//
// A file appears under its name only once it is complete and flushed: it is
// written beside, synced and renamed. So whatever kills a run leaves whole
// trials only, and a resumed run finds by the names what is still missing.
//
// # Histograms
//
// Latency is kept as HdrHistogram, in nanoseconds, with three significant
// digits: a value read back is off by at most 0.1 %. Use [NewHistogram] so that
// all histograms of a run can be merged without loss.
package record
