package report

import (
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/report/doc"
)

// source is a work, and by what the texts name it.
type source struct{ named, entry string }

// sources are the works that methods and threats name.
func sources() []source {
	const thesis = "Ongaro D. Consensus: Bridging Theory and Practice. PhD thesis, Stanford University, 2014."
	return []source{
		{"Bailey,", "Bailey N. T. J. On queueing processes with bulk service. Journal of the Royal Statistical Society B, 16, 1954."},
		{"Bayley", "Bayley G. V., Hammersley J. M. The “effective” number of independent observations in an autocorrelated time series. Supplement to the Journal of the Royal Statistical Society, 8, 1946."},
		{"Conover", "Conover W. J. Practical Nonparametric Statistics. 3rd ed. Wiley, 1999."},
		{"Cook", "Cook T. D., Campbell D. T. Quasi-Experimentation: Design and Analysis Issues for Field Settings. Houghton Mifflin, 1979."},
		{"Cox", "Cox D. R., Lewis P. A. W. The Statistical Analysis of Series of Events. Methuen, 1966."},
		{"Denning", "Denning P. J., Buzen J. P. The operational analysis of queueing network models. ACM Computing Surveys, 10, 1978."},
		{"Hartigan", "Hartigan J. A. Using subsample values as typical values. Journal of the American Statistical Association, 64, 1969."},
		{"Holm", "Holm S. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics, 6, 1979."},
		{"Jain", "Jain R. The Art of Computer Systems Performance Analysis. Wiley, 1991."},
		{"Kleinrock", "Kleinrock L. Queueing Systems. Volume 1: Theory. Wiley, 1975."},
		{"Lazowska", "Lazowska E. D., Zahorjan J., Graham G. S., Sevcik K. C. Quantitative System Performance. Prentice Hall, 1984."},
		{"Raft dissertation", thesis}, {"диссертация Raft", thesis},
		{"Westfall", "Westfall P. H., Young S. S. Resampling-Based Multiple Testing. Wiley, 1993."},
		{"Wohlin", "Wohlin C., Runeson P., Höst M., Ohlsson M. C., Regnell B., Wesslén A. Experimentation in Software Engineering. Springer, 2012."},
	}
}

// cited are the works that a document names.
func cited(d doc.Document) []string {
	var text strings.Builder
	add := func(items ...doc.Item) {
		for _, i := range items {
			text.WriteString(i.Text + "\n")
		}
	}
	for _, b := range d.Blocks {
		switch x := b.(type) {
		case doc.Paragraph:
			text.WriteString(x.Text + "\n")
		case doc.Terms:
			add(x...)
		case doc.Table:
			add(x.Notes...)
		}
	}
	var out []string
	for _, s := range sources() {
		if strings.Contains(text.String(), s.named) {
			out = appendNew(out, s.entry)
		}
	}
	slices.Sort(out)
	return out
}
