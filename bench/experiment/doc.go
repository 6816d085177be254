// Package experiment reads experiment files and expands their matrix into the
// cells that are run. A file asks one question:
//
//	# Which log store commits fastest on this disk?
//
//	name = "backends"
//
//	[cluster]
//	nodes = 3
//
//	[load]
//	duration = "5s"
//
//	[options.mdb]                     # what the backend mdb takes
//	map_size = "1GiB"
//
//	[matrix]                          # every combination is a cell
//	backend              = ["inmem", "bolt", "mdb"]
//	clients              = [1, 16]
//	options.mdb.map_size = ["1GiB", "2GiB"]
//
// docs/experiment.md lists every key with its default; it is made from the tags of the
// types here. A key that is not listed there is an error, and so is a key of a
// measurement that the experiment does not make.
//
// The package reads and checks text. It never runs anything, and it knows no engine,
// backend or transport: the caller says which exist, see [Known].
package experiment
