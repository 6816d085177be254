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
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

// How often TestRedisBenchmark measures with each, and for how long.
var (
	redisRounds   = flag.Int("redis-rounds", 0, "compare redis-benchmark with the generator this often; 0: not")
	redisDuration = flag.Duration("redis-duration", 2*time.Second, "of each of these measurements")
)

// TestRedisBenchmark sets the generator beside redis-benchmark, with as many writes under
// way and in turn, on one group with kvnode's defaults: make redis-benchmark. The clients of
// the generator share two connections, those of redis-benchmark have one each, or are
// pipelined on two. It prints what it finds and judges nothing.
func TestRedisBenchmark(t *testing.T) {
	if *redisRounds == 0 {
		t.Skip("make redis-benchmark")
	}
	if _, err := exec.LookPath("redis-benchmark"); err != nil {
		t.Skip("it needs redis-benchmark, of Debian's package redis-tools")
	}
	g := redisGroup(t)
	t.Log("SET of 256 B, three members, writes/s: medians of the rounds")
	t.Log("clients  generator  redis-benchmark (ratio to it)  redis-benchmark, 2 connections (ratio to it)")
	for _, clients := range []int{1, 16, 64, 256} {
		var own, each, shared, toEach, toShared []float64
		lanes := min(clients, 2)
		for range *redisRounds {
			x := generated(t, g, clients)
			y := benchmarked(t, g.file.Nodes[0].RESPAddress, clients, 1, x)
			z := benchmarked(t, g.file.Nodes[0].RESPAddress, lanes, clients/lanes, x)
			own, each, shared, toEach, toShared = append(own, x), append(each, y), append(shared, z), append(toEach, x/y), append(toShared, x/z)
		}
		t.Logf("%7d  %9.0f  %15.0f (%.2f)             %15.0f (%.2f)", clients, middle(own), middle(each), middle(toEach), middle(shared), middle(toShared))
	}
}

func middle(of []float64) float64 {
	slices.Sort(of)
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
func generated(t *testing.T, g *group, clients int) float64 {
	t.Helper()
	prepared, err := workload.Prepare(workload.Spec{
		Clients: clients, Arrival: "constant", Warmup: *redisDuration / 4, Duration: *redisDuration, OpTimeout: 10 * time.Second,
		ValueBytes: 256, Keys: 10000, KeyDistribution: "uniform", Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := prepared.Run(t.Context(), g.Target(experiment.ReadLinearizable))
	if err != nil {
		t.Fatal(err)
	}
	return float64(result.Writes.Completed) / redisDuration.Seconds()
}

// benchmarked is what redis-benchmark sees with so many connections, each with so many
// commands under way, over about as many writes as the rate says.
func benchmarked(t *testing.T, address string, connections, pipeline int, rate float64) float64 {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := max(connections*pipeline, int(rate*redisDuration.Seconds()))
	out, err := exec.CommandContext(ctx, "redis-benchmark", "-h", host, "-p", port, "-t", "set", "-d", "256", "-r", "10000",
		"-c", strconv.Itoa(connections), "-P", strconv.Itoa(pipeline), "-n", strconv.Itoa(n), "--csv").Output()
	if err != nil {
		t.Fatalf("redis-benchmark: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `"`, ""), ",")
		if len(fields) > 1 && fields[0] == "SET" {
			if rate, err := strconv.ParseFloat(fields[1], 64); err == nil && rate > 0 {
				return rate
			}
		}
	}
	t.Fatalf("redis-benchmark said no rate:\n%s", out)
	return 0
}
