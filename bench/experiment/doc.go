// Package experiment reads experiment files and expands their matrix into the
// cells that are run. A file asks one question; its format, with the defaults
// in brackets:
//
//	# The question, in a comment at the very top, up to the first blank line.
//
//	name        = "backends"          # names the run folder: a-z, 0-9, "-" (required)
//	title       = "Commit latency"    # [the name]
//	title_ru    = "Задержка фиксации"
//	question_ru = "Какое хранилище …"
//	seed        = 1                   # of keys, values and the order of trials [1]
//	trials      = 5                   # repetitions of each cell [5]
//	measure     = "load"              # or "formation", see below ["load"]
//
//	[cluster]
//	nodes     = 3                     # voters [3]
//	engine    = "hashicorp"           # ["hashicorp"]
//	backend   = "bolt"                # ["bolt"]
//	transport = "tcp"                 # ["tcp"]
//	mode      = "inprocess"           # or "process": kvnode processes ["inprocess"]
//	discovery = "static"              # or "gossip", with mode = "process" ["static"]
//
//	[raft]                            # see the type Raft; 0 is the engine's default [0]
//	heartbeat_timeout = "1s"
//
//	[load]
//	clients          = 16             # closed loop [16]
//	rate             = 2000           # operations per second: open loop [0: closed loop]
//	arrival          = "poisson"      # open loop: "constant" or "poisson" ["constant"]
//	duration         = "5s"           # measured ["5s"]
//	warmup           = "1s"           # before that, cut off ["1s"]
//	value_size       = 256            # bytes [256]
//	keys             = 10000          # [10000]
//	key_distribution = "uniform"      # "uniform", "zipf" or "sequential" ["uniform"]
//	read_ratio       = 0.0            # share of reads, 0 to 1 [0]
//	read_level       = "linearizable" # or "stale" ["linearizable"]
//	op_timeout       = "10s"          # ["10s"]
//
//	[options.mdb]                     # what the backend or transport mdb takes
//	map_size = "1GiB"
//
//	[matrix]                          # every combination is a cell [one cell]
//	backend                 = ["inmem", "bolt", "mdb"]
//	clients                 = [1, 16]
//	raft.heartbeat_timeout  = ["500ms", "1s"]
//	options.mdb.map_size    = ["1GiB", "2GiB"]
//
// A factor of the matrix is any key of [cluster], [raft], [load] or [formation],
// by its bare or dotted name, or an option by its dotted name. It replaces the
// value in the table above it. A key that is not listed here is an error.
//
// With measure = "formation" no client asks anything. What is measured is how the
// group comes into being, which needs mode = "process". The table [load] has no
// meaning then, and neither has [formation] with measure = "load": each of their
// keys is an error where it does not belong, in the file, the matrix and in
// overrides.
//
//	[formation]
//	settle  = "5s"                    # from a whole group until it is at rest ["5s"]
//	rest    = "5s"                    # how long traffic is counted at rest ["5s"]
//	timeout = "60s"                   # from the first start to a whole group ["60s"]
//
// The package reads and checks text. It never runs anything, and it knows no
// backend or transport: the caller says which exist, see [Known].
package experiment
