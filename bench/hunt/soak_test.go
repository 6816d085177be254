//go:build linux

package hunt

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

// What make soak gives. Without a duration only the smoke test runs.
var (
	duration  = flag.Duration("soak", 0, "hunt for this long in all")
	round     = flag.Duration("round", 45*time.Second, "length of a round's schedule")
	seed      = flag.Uint64("seed", 0, "seed of the first round; the next has the next one. 0: by the clock")
	engine    = flag.String("engine", "", "engines; empty: the nodes' default")
	nodes     = flag.String("nodes", "3,5", "sizes of groups")
	persists  = flag.String("persistence", "", "values of raft.persistence; empty: the nodes' default")
	backends  = flag.String("backend", "bolt,mdb", "log stores")
	discovery = flag.String("discovery", "static,gossip", "how nodes find each other")
	protocols = flag.String("client", "http", "protocols of the load: http, resp")
	faults    = flag.String("faults", "", "only these kinds; empty: all")
	kvnode    = flag.String("kvnode", "", "path of the program; empty: it is built")
	keep      = flag.String("keep", "", "folder for the rounds' files; empty: a temporary one, kept where something was found")
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{}) // nodes that do not run are no news here
	goleak.VerifyTestMain(m)
}

type silence struct{}

// Printf implements the logger of go-redis.
func (silence) Printf(context.Context, string, ...any) {}

func program(t *testing.T) string {
	t.Helper()
	if *kvnode != "" {
		path, err := filepath.Abs(*kvnode)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	return clustertest.Program(t, "kvnode")
}

// knowsPeers says whether the program has the flag --peers, which older ones lack.
func knowsPeers(t *testing.T, program string) bool {
	t.Helper()
	help, err := exec.Command(program, "--help").Output()
	if err != nil {
		t.Fatalf("%s --help: %v", program, err)
	}
	return strings.Contains(string(help), "--peers")
}

// cells are all combinations, the sizes varying fastest.
func cells(t *testing.T) []Config {
	t.Helper()
	for _, proto := range strings.Split(*protocols, ",") {
		if proto != "http" && proto != "resp" {
			t.Fatalf("CLIENT=%s: want http, resp or http,resp", *protocols)
		}
	}
	all := []Config{{Duration: *round, Out: os.Stdout}}
	times := func(values string, set func(c *Config, value string)) {
		var more []Config
		for _, c := range all {
			for _, v := range strings.Split(values, ",") {
				set(&c, v)
				more = append(more, c)
			}
		}
		all = more
	}
	times(*engine, func(c *Config, v string) { c.Engine = v })
	times(*protocols, func(c *Config, v string) { c.Client = v })
	times(*discovery, func(c *Config, v string) { c.Discovery = v })
	times(*backends, func(c *Config, v string) { c.Backend = v })
	times(*persists, func(c *Config, v string) { c.Persistence = v })
	times(*nodes, func(c *Config, v string) {
		if _, err := fmt.Sscan(v, &c.Nodes); err != nil || c.Nodes != 3 && c.Nodes != 5 {
			t.Fatalf("NODES=%s: want 3, 5 or 3,5", *nodes)
		}
	})
	if *faults != "" {
		for i := range all {
			all[i].Faults = strings.Split(*faults, ",")
		}
	}
	return all
}

// TestSoak is make soak.
func TestSoak(t *testing.T) {
	if *duration == 0 {
		t.Skip("make soak runs it")
	}
	first := *seed
	if first == 0 {
		first = uint64(time.Now().Unix())
	}
	dir := *keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "soak"); err != nil {
			t.Fatal(err)
		}
	}
	all, bin := cells(t), program(t)
	fmt.Printf("soak: seed %d, %v, %d cells; files in %s\n", first, *duration, len(all), dir)
	peers := knowsPeers(t, bin)
	total := newReport()
	total.Rounds = 0
	var again []string
	begin := time.Now()
	for i := 0; i == 0 || time.Since(begin)+*round/2 < *duration; i++ {
		c := all[i%len(all)]
		c.Peers = peers
		c.Kvnode, c.Seed, c.Dir = bin, first+uint64(i), filepath.Join(dir, fmt.Sprintf("%d", first+uint64(i)))
		r, err := Round(context.Background(), c)
		if err != nil {
			fmt.Printf("NOT RUN: the round of seed %d on %s: %v\n", c.Seed, c, err)
			total.NotRun++
			continue
		}
		if r.Verdict() == check.IsLinearizable {
			if err := os.RemoveAll(c.Dir); err != nil {
				t.Error(err)
			}
		} else {
			again = append(again, fmt.Sprintf("%s  # %s", c.Again(), kindsOf(r)))
		}
		total.Add(r)
	}
	total.Print(os.Stdout)
	for _, command := range again {
		fmt.Println("again:", command)
	}
	if total.Verdict() != check.IsLinearizable {
		t.Fail()
	}
}

func kindsOf(r *Report) string {
	var list []string
	seen := map[string]bool{}
	for _, v := range r.Violations {
		if !seen[v.What] {
			seen[v.What] = true
			list = append(list, v.What)
		}
	}
	return strings.Join(list, ", ")
}

// TestSmoke is a short round, over each protocol, of faults that any group has to survive.
func TestSmoke(t *testing.T) {
	bin := program(t)
	for _, proto := range []string{"http", "resp"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			r, err := Round(t.Context(), Config{
				Kvnode: bin, Dir: filepath.Join(t.TempDir(), "round"), Seed: 1, Nodes: 3, Backend: "bolt", Discovery: "static", Client: proto,
				Duration: 5 * time.Second, Faults: []string{"kill", "partition", "transfer"}, Out: t.Output(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict() != check.IsLinearizable || r.Acknowledged == 0 || len(r.Faults) == 0 {
				t.Errorf("%s after %d acknowledged writes and %v: %v", r.Verdict(), r.Acknowledged, r.Faults, r.Violations)
			}
		})
	}
}
