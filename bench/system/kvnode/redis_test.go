package kvnode

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/system/clients"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

// How often TestRedisBenchmark measures with each, and for how long.
var (
	redisRounds   = flag.Int("redis-rounds", 0, "compare redis-benchmark with the generator this often; 0: not")
	redisDuration = flag.Duration("redis-duration", 2*time.Second, "of each of these measurements")
)

// TestRedisBenchmark sets the generator beside redis-benchmark on one group with kvnode's
// defaults, with as many writes under way, on as many connections: one for each client. Which
// goes first changes with the round. Beside that, the generator with the two connections
// that its clients share by default. make redis-benchmark; it judges nothing.
func TestRedisBenchmark(t *testing.T) {
	if *redisRounds == 0 {
		t.Skip("make redis-benchmark")
	}
	if _, err := exec.LookPath("redis-benchmark"); err != nil {
		t.Skip("it needs redis-benchmark, of Debian's package redis-tools")
	}
	g := redisGroup(t)
	address := g.file.Nodes[0].RESPAddress
	t.Logf("SET of 256 B, %d members, writes/s: medians of %d rounds; the ratio is that of each round, with the lowest and the highest", len(g.nodes), *redisRounds)
	t.Log("clients = connections  generator  redis-benchmark  ratio                generator on 2 connections")
	for _, n := range []int{1, 16, 64} {
		own, err := clients.Open(g.file.Nodes, loadOf(n, ""))
		if err != nil {
			t.Fatal(err)
		}
		each := own.Target(experiment.ReadLinearizable)
		var ours, theirs, ratios, shared []float64
		for round := range *redisRounds {
			var x, y float64
			for _, first := range []bool{round%2 == 0, round%2 == 1} {
				if first {
					x = generated(t, each, n)
				} else {
					y = benchmarked(t, address, n)
				}
			}
			ours, theirs, ratios = append(ours, x), append(theirs, y), append(ratios, x/y)
			shared = append(shared, generated(t, g.Target(experiment.ReadLinearizable), n))
		}
		if err := own.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("%21d  %9.0f  %15.0f  %.2f (%.2f to %.2f)  %26.0f", n,
			middle(ours), middle(theirs), middle(ratios), slices.Min(ratios), slices.Max(ratios), middle(shared))
	}
}

func middle(of []float64) float64 {
	of = slices.Sorted(slices.Values(of))
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

func redisGroup(t *testing.T) *group {
	t.Helper()
	path := clustertest.Program(t, "kvnode")
	var e experiment.Experiment
	if err := experiment.Schema(nil).Defaults(&e); err != nil {
		t.Fatal(err)
	}
	e.Cluster.Mode, e.Load.Client = experiment.ModeProcess, experiment.ClientRESP
	cells, err := e.Expand()
	if err != nil {
		t.Fatal(err)
	}
	info, err := describe(t.Context(), path, cells[0], cluster.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGroup(path, system.Spec{Cell: &info, Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}, cluster.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

// generated is the throughput that the generator sees.
func generated(t *testing.T, target workload.Target, clients int) float64 {
	t.Helper()
	prepared, err := workload.Prepare(t.Context(), workload.Spec{
		Clients: clients, Arrival: "constant", Warmup: *redisDuration / 4, Duration: *redisDuration, OpTimeout: 10 * time.Second,
		ValueBytes: 256, Keys: 10000, KeyDistribution: "uniform", Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := prepared.Run(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return float64(result.Writes.Completed) / redisDuration.Seconds()
}

// benchmarked is what redis-benchmark sees with so many connections, each with one write
// under way, in as much time as the generator has: a few writes tell how many those are.
func benchmarked(t *testing.T, address string, connections int) float64 {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rate, writes := 0.0, 50*connections
	for range 2 {
		out, err := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-t", "set", "-d", "256", "-r", "10000",
			"-c", strconv.Itoa(connections), "-n", strconv.Itoa(writes), "--csv").Output()
		if err != nil {
			t.Fatalf("redis-benchmark: %v", err)
		}
		if rate = rateOf(string(out)); rate <= 0 {
			t.Fatalf("redis-benchmark said no rate:\n%s", out)
		}
		writes = max(writes, int(rate*redisDuration.Seconds()))
	}
	return rate
}

// rateOf is the rate of SET in what redis-benchmark prints; 0: it is not there.
func rateOf(csv string) float64 {
	for line := range strings.Lines(csv) {
		fields := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `"`, ""), ",")
		if len(fields) > 1 && fields[0] == "SET" {
			rate, _ := strconv.ParseFloat(fields[1], 64)
			return rate
		}
	}
	return 0
}
