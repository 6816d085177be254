package kvnode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/node"
)

// commandLine is what the flags and the settings file say, before it is checked
// as a whole. Each value is checked on its own as it is given.
type commandLine struct {
	catalogs cluster.Catalogs
	flags    *pflag.FlagSet
	fromFile []string // names of the flags that the file sets

	help, version, describe bool

	config string
	data   string

	id, haddr, raddr, advertiseHTTP string
	join                            addressList
	peers                           peerList
	inmem, nonvoter                 bool
	gossip                          node.Gossip
	gossipFlags                     *pflag.FlagSet
	backend, transport, engine      string
	backendOptions                  *optionSet
	transportOptions                *optionSet
	raftOptions                     *optionSet
	requestTimeout                  time.Duration
	logLevel, logFormat             string
}

func newCommandLine(known cluster.Catalogs) *commandLine {
	c := &commandLine{
		catalogs: known,
		haddr:    "localhost:11000", raddr: "localhost:12000",
		backend: "bolt", transport: "tcp", engine: "hashicorp",
		backendOptions:   newOptionSet("--backend-option"),
		transportOptions: newOptionSet("--transport-option"),
		raftOptions:      newOptionSet("--raft-option"),
		requestTimeout:   api.DefaultTimeout,
		gossip:           defaultGossip(),
		logLevel:         "info", logFormat: "text",
	}
	f := pflag.NewFlagSet("kvnode", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {} // run prints it
	names := func(names []string) string { return strings.Join(names, ", ") }

	f.Var(&text{&c.id, "string", checkID}, "id", "Node ID. If not set, what the data path holds, or else the Raft bind address")
	f.Var(&text{&c.haddr, "host:port", checkBind}, "haddr", "Set the HTTP bind address; port 0: any free one")
	f.Var(&text{&c.raddr, "host:port", checkBind}, "raddr", "Set the Raft bind address; port 0: any free one")
	f.Var(&c.join, "join", "Set join addresses: of the HTTP interface of any members, with commas. If not set, a node without data founds a group")
	f.Var(&c.peers, "peers", "Set Raft addresses at which to look for members that are not where the group has them. Needed where most of a group without gossip have moved at once. The node's own may be among them")
	f.BoolVar(&c.inmem, "inmem", false, "Use in-memory storage for Raft: nothing outlives the process")
	f.Var(&text{&c.advertiseHTTP, "host:port", checkAdvertise}, "advertise-http", "Set the HTTP address that others are to dial, if not the bind address")
	f.BoolVar(&c.nonvoter, "nonvoter", false, "Join without a vote")
	c.gossipFlags = flagsOf(&c.gossip)
	f.AddFlagSet(c.gossipFlags)
	f.Var(&text{&c.backend, "name", lookup(known.Backends)}, "backend", "Log store: "+names(known.Backends.Names()))
	f.Var(c.backendOptions, "backend-option", "Option of the log store, such as map_size=1GiB; may be repeated")
	f.Var(&text{&c.transport, "name", lookup(known.Transports)}, "transport", "Network of Raft: "+names(networked(known.Transports)))
	f.Var(c.transportOptions, "transport-option", "Option of the network, such as advertise=HOST; may be repeated")
	f.Var(&text{&c.engine, "name", lookup(known.Engines)}, "engine", "Implementation of Raft: "+names(known.Engines.Names()))
	f.Var(c.raftOptions, "raft-option", "Setting of Raft, such as heartbeat_timeout=500ms; may be repeated")
	f.Var(&timeout{&c.requestTimeout}, "request-timeout", "How long a request without ?timeout= may take")
	f.StringVar(&c.config, "config", "", "Read settings from this TOML `file`; the command line wins over it")
	f.Var(&text{&c.logLevel, "level", oneOf("debug", "info", "warn", "error")}, "log-level", "Log from this level on: debug, info, warn, error")
	f.Var(&text{&c.logFormat, "format", oneOf("text", "json")}, "log-format", "Log as text or json, to standard error. Lines that nobody reads are dropped and counted: they hold nothing up")
	f.BoolVar(&c.describe, "describe", false, "Print as JSON what it would run with these settings, and exit")
	f.BoolVar(&c.version, "version", false, "Print the version and exit")
	f.BoolVarP(&c.help, "help", "h", false, "Print this help and exit")
	c.flags = f
	return c
}

func (c *commandLine) usage() string {
	var b strings.Builder
	b.WriteString("Usage: kvnode [options] <raft-data-path>\n")
	c.flags.VisitAll(func(f *pflag.Flag) {
		kind, text := pflag.UnquoteUsage(f)
		if f.NoOptDefVal != "" {
			kind = "" // a switch
		}
		fmt.Fprintln(&b, strings.TrimRight("  --"+f.Name+" "+kind, " "))
		if f.DefValue != "" && f.DefValue != "false" {
			text += fmt.Sprintf(" (default %q)", f.DefValue)
		}
		fmt.Fprintln(&b, "    "+text)
	})
	b.WriteString(`
A single dash will do: -id node1. A settings file has the same names:

  data = "var/node1"
  id = "node1"
  join = ["localhost:11000"]
  [backend-options]
  no_sync = true
  [raft]
  heartbeat_timeout = "500ms"

What [raft] and --raft-option take:

`)
	for keys := range slices.Chunk(raftKeys(), 4) {
		b.WriteString("  " + strings.Join(keys, ", ") + "\n")
	}
	b.WriteString("\nExit codes: 0 stopped in order, 1 failed, 2 wrong usage or settings.\n")
	return b.String()
}

// parse reads a command line and the file that it names. Every error is one of
// usage. With help or version set there are no settings.
func (c *commandLine) parse(args []string) (settings, error) {
	if err := c.flags.Parse(c.doubleDashes(args)); err != nil {
		return settings{}, fmt.Errorf("%w; see 'kvnode --help'", c.suggest(err))
	}
	if c.help || c.version {
		return settings{}, nil
	}
	switch c.flags.NArg() {
	case 0:
	case 1:
		c.data = c.flags.Arg(0)
	default:
		return settings{}, fmt.Errorf("one path for the Raft data, not %d: %s; see 'kvnode --help'", c.flags.NArg(), strings.Join(c.flags.Args(), " "))
	}
	if c.config != "" {
		if err := c.readConfig(c.config); err != nil {
			return settings{}, err
		}
	}
	if c.data == "" {
		return settings{}, errors.New("the path for the Raft data is missing: kvnode [options] <raft-data-path>; see 'kvnode --help'")
	}
	return c.settings()
}

// doubleDashes gives long names that stand behind a single dash, as in -id node1,
// the second one. There are no one-letter flags but -h, so nothing is lost.
func (c *commandLine) doubleDashes(args []string) []string {
	args = slices.Clone(args)
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			break
		}
		if !strings.HasPrefix(args[i], "-") {
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		if len(name) > 1 && !strings.HasPrefix(args[i], "--") {
			args[i] = "-" + args[i]
		}
		if flag := c.flags.Lookup(name); flag != nil && !hasValue && flag.NoOptDefVal == "" {
			i++ // its value, whatever it looks like
		}
	}
	return args
}

// suggest adds the nearest known name to the error of an unknown flag.
func (c *commandLine) suggest(err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	if near := nearest(unknown.GetSpecifiedName(), c.flagNames()); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
}

func (c *commandLine) flagNames() []string {
	var names []string
	c.flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// rank says where a flag's value comes from: the command line (2), the file (1)
// or the default (0).
func (c *commandLine) rank(name string) int {
	switch {
	case c.flags.Changed(name):
		return 2
	case slices.Contains(c.fromFile, name):
		return 1
	default:
		return 0
	}
}
