package kvnode

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/internal/conf"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/node"
)

// given is what the flags and the settings file say: a field is a flag and a key of the
// file, with the tags of package conf.
type given struct {
	Data          string      `key:"data"`
	ID            string      `key:"id" doc:"Node ID. If not set, what the data path holds, or else the Raft bind address"`
	HTTPBind      string      `key:"haddr" kind:"host:port" default:"localhost:11000" doc:"Set the HTTP bind address; port 0: any free one"`
	RaftBind      string      `key:"raddr" kind:"host:port" default:"localhost:12000" doc:"Set the Raft bind address; port 0: any free one"`
	Join          addressList `key:"join" example:"localhost:11000" doc:"Set join addresses: of the HTTP interface of any members, with commas. If not set, a node without data founds a group"`
	Peers         peerList    `key:"peers" example:"node2=localhost:12001" doc:"Set Raft addresses at which to look for members that are not where the group has them. Needed where most of a group without gossip have moved at once. The node's own may be among them"`
	InMemory      bool        `key:"inmem" doc:"Use in-memory storage for Raft: nothing outlives the process"`
	HTTPAdvertise string      `key:"advertise-http" kind:"host:port" doc:"Set the HTTP address that others are to dial, if not the bind address"`
	RESPBind      string      `key:"resp" kind:"host:port" doc:"Serve the Redis protocol too, on this bind address; port 0: any free one"`
	RESPAdvertise string      `key:"resp-advertise" kind:"host:port" doc:"Set the address of the Redis protocol that clients are to dial, if not the bind address"`
	Nonvoter      bool        `key:"nonvoter" doc:"Join without a vote"`
	gossipGiven

	Profile string `key:"profile" kind:"name" default:"lan" oneof:"local lan wan"`

	Backend          string    `key:"backend" kind:"name" default:"wal" doc:"Log store of a new folder. One that holds data keeps its own: see 'kvnode migrate --help'"`
	BackendOptions   optionSet `key:"backend-option" doc:"Option of the log store, such as segment_size=16MiB; may be repeated"`
	Transport        string    `key:"transport" kind:"name" default:"tcp" doc:"Network of Raft"`
	TransportOptions optionSet `key:"transport-option" doc:"Option of the network, such as advertise=HOST; may be repeated"`
	Engine           string    `key:"engine" kind:"name" default:"hashicorp" doc:"Implementation of Raft"`
	EngineOptions    optionSet `key:"engine-option" doc:"Option of that implementation, such as trailing_logs=1024; may be repeated"`
	RaftOptions      optionSet `key:"raft-option" doc:"Setting of Raft that every implementation has, such as heartbeat_timeout=500ms; may be repeated"`

	RequestTimeout time.Duration `key:"request-timeout" min:"1ms" doc:"How long a request without ?timeout= may take"`
	Trace          bool          `key:"trace" doc:"Take down where the time of each write goes, and write it to trace.bin in the data path at the end, for raftlab. Up to 256 MiB of memory"`
	LogLevel       string        `key:"log-level" kind:"level" default:"info" oneof:"debug info warn error" doc:"Log from this level on"`
	LogFormat      string        `key:"log-format" kind:"format" default:"text" oneof:"text json" doc:"Form of the log, where lines that nobody reads or no disk takes are dropped and counted: they hold nothing up"`
	LogFile        string        `key:"log-file" kind:"file" doc:"Log to this file, not to standard error. SIGHUP has it opened again"`
	LogMaxSize     int           `key:"log-max-size" kind:"bytes" default:"64MiB" min:"262144" unit:"bytes" doc:"The log file becomes FILE.1, that one FILE.2 and so on, before it is larger than this"`
	LogKeep        int           `key:"log-keep" default:"5" max:"1000" doc:"How many of those stay"`

	Raft core.Tuning `key:"raft"`
}

// gossipGiven is what is said of gossip.
type gossipGiven struct {
	Bind              string        `key:"gossip" kind:"host:port" doc:"Find the other nodes by gossip, from this bind address (UDP and TCP); port 0: any free one. In place of --join"`
	Advertise         string        `key:"gossip-advertise" kind:"host:port" doc:"Set the gossip address that others are to dial, if not the bind address"`
	GossipJoin        addressList   `key:"gossip-join" example:"localhost:7946" doc:"Gossip addresses of any other nodes, with commas. One that runs is enough"`
	Expect            int           `key:"bootstrap-expect" doc:"How many voters without data found the group together, the same on each of them; 0: this node waits to be added"`
	Cluster           string        `key:"cluster" kind:"name" default:"raftlab" doc:"Name of the cluster: nodes of others are kept out"`
	KeyFile           string        `key:"gossip-key" kind:"file" doc:"Encrypt gossip with the AES keys in this file, one a line; the first encrypts. SIGHUP has it read again"`
	GossipProfile     string        `key:"gossip-profile" kind:"name" oneof:"local lan wan" doc:"Old name of --profile"`
	RemoveFailedAfter time.Duration `key:"remove-failed-after" default:"72h" max:"87600h" doc:"How long a member must have failed before it is removed; 0: it never is"`
	LeaveOnStop       bool          `key:"leave-on-stop" doc:"Leave the group for good on SIGTERM or SIGINT"`
}

// commandLine reads the flags and the settings file. Each value is checked on its own as
// it is given, and all of them together by settings.
type commandLine struct {
	given
	catalogs cluster.Catalogs
	schema   *conf.Schema
	flags    *pflag.FlagSet
	fromFile []string // keys that the file sets and no flag

	help, version, describe bool
	config                  string
}

func newCommandLine(known cluster.Catalogs) (*commandLine, error) {
	c := &commandLine{catalogs: known, schema: conf.SchemaOf(given{})}
	s := c.schema
	s.Check("id", checkID)
	s.Check("data", func(path string) error { return want(path != "", "want a path") })
	s.Check("cluster", checkCluster)
	for _, key := range []string{"haddr", "raddr", "resp", "gossip"} {
		s.Check(key, checkBind)
	}
	for _, key := range []string{"advertise-http", "resp-advertise", "gossip-advertise"} {
		s.Check(key, checkAdvertise)
	}
	s.Restrict("backend", known.Backends.Names())
	s.Restrict("transport", networked(known.Transports))
	s.Check("transport", func(name string) error {
		_, err := known.Transports.Lookup(name)
		return want(err != nil || slices.Contains(networked(known.Transports), name),
			"it stays within one process, and a kvnode is one: want a network, such as tcp")
	})
	s.Restrict("engine", engines.Libraries(known.Engines))
	s.Check("engine", func(name string) error {
		e, err := known.Engines.Lookup(name)
		if err != nil {
			return nil // which chooseEngine tells
		}
		return e.Library(name)
	})
	s.Find("profile").Doc = profilesDoc()
	s.Find("bootstrap-expect").Max = fmt.Sprint(founding.MaxExpect)
	s.Find("request-timeout").Default, s.Find("request-timeout").Max = api.DefaultTimeout.String(), api.MaxTimeout.String()
	if err := s.Defaults(&c.given); err != nil {
		return nil, err
	}

	f := s.Flags(&c.given)
	f.Usage = func() {} // run prints it
	f.StringVar(&c.config, "config", "", "Read settings from this TOML `file`; the command line wins over it")
	f.BoolVar(&c.describe, "describe", false, "Print as JSON what it would run with these settings, and exit")
	f.BoolVar(&c.version, "version", false, "Print the version and exit")
	f.BoolVarP(&c.help, "help", "h", false, "Print this help and exit")
	c.flags = f
	return c, nil
}

// helpWidth is how wide a terminal is that help is written for.
const helpWidth = 80

func (c *commandLine) usage() string {
	var b strings.Builder
	b.WriteString(`Usage: kvnode [options] <raft-data-path>
       kvnode migrate --to STORE <raft-data-path>
       kvnode recover <raft-data-path>...
       kvnode dump <raft-data-path>
       kvnode restore FILE [options] <raft-data-path>
       kvnode inspect <raft-data-path>
`)
	c.flags.VisitAll(func(f *pflag.Flag) {
		kind, text := pflag.UnquoteUsage(f)
		if f.NoOptDefVal != "" {
			kind = "" // a switch
		}
		fmt.Fprintln(&b, strings.TrimRight("  --"+f.Name+" "+kind, " "))
		if f.DefValue != "" && f.DefValue != "false" {
			text += fmt.Sprintf(" (default %q)", f.DefValue)
		}
		b.WriteString(conf.Wrapped("    ", text, helpWidth))
	})
	b.WriteString(`
A single dash will do: -id node1. A settings file has the same names:

  data = "var/node1"
  id = "node1"
  join = ["localhost:11000"]
  [backend-options]
  segment_size = "16MiB"
  [raft]
  heartbeat_timeout = "500ms"

What [raft] and --raft-option take:

`)
	for keys := range slices.Chunk(c.schema.Names("raft"), 4) {
		b.WriteString("  " + strings.Join(keys, ", ") + "\n")
	}
	b.WriteString("\nWhat [engine-options] and --engine-option take:\n\n")
	for _, name := range engines.Libraries(c.catalogs.Engines) {
		b.WriteString("  " + name + ": " + strings.Join(c.engineOptions(name), ", ") + "\n")
	}
	b.WriteString("\nExit codes: 0 stopped in order, 1 failed, 2 wrong usage or settings.\n")
	return b.String()
}

// profilesDoc says what the profiles are, with their numbers.
func profilesDoc() string {
	about := map[string]string{node.Local: "nodes of one machine", node.LAN: "a data centre", node.WAN: "several of them"}
	var texts []string
	for _, p := range node.Profiles() {
		texts = append(texts, fmt.Sprintf("%s, %s: %v and %v", p.Name, about[p.Name], p.Raft.HeartbeatTimeout, p.Raft.LeaderLeaseTimeout))
	}
	return "Timings of Raft and of gossip, by where the nodes are: after a leader's death the others elect another within one to two " +
		"heartbeat_timeouts, and a longer silence of one that lives costs an election. heartbeat_timeout and leader_lease_timeout: " +
		strings.Join(texts, "; ") + ". --raft-option wins over it"
}

// engineOptions returns what an engine takes that not every one has.
func (c *commandLine) engineOptions(name string) []string {
	e, err := c.catalogs.Engines.Lookup(name)
	if err != nil {
		return nil
	}
	return e.Schema().Keys()
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
		c.Data = c.flags.Arg(0)
	default:
		return settings{}, fmt.Errorf("one path for the Raft data, not %d: %s; see 'kvnode --help'", c.flags.NArg(), strings.Join(c.flags.Args(), " "))
	}
	if c.config != "" {
		if err := c.readConfig(c.config); err != nil {
			return settings{}, err
		}
	}
	if c.Data == "" {
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
	var names []string
	c.flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := conf.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, near)
	}
	return err
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
