// Package report makes everything that is printed about a run from its run
// folder alone: the table for the terminal, results.csv, the reports in
// Markdown and HTML, in English and Russian, and the plots. It never measures
// and never changes the raw data.
//
// The same folder gives the same bytes, on any machine and at any time: there
// is no time of making in a report, and nothing depends on the order of a map.
// That is what [Verify] rests on: it makes everything again from the trials and
// tells every difference to what lies in the folder.
//
// The way of the data: model (numbers, computed once) → page (the same in
// sentences and tables of one language) → Markdown, HTML or the terminal. The
// plots and results.csv come from the model.
//
// Latency figures carry the resolution of the histograms, three significant
// digits.
package report
