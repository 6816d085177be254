package coretest

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/transports/inmem"
)

// mostEntries is the bound that BenchmarkLogStore promises.
const mostEntries = 20_000

// bounded fails a benchmark in which the log outgrows mostEntries.
type bounded struct {
	*memStore
	b *testing.B
}

func (s bounded) StoreLogs(logs []*raft.Log) error {
	if n := len(s.disk.logs) + len(logs); n > mostEntries {
		s.b.Errorf("the log has grown to %d entries", n)
	}
	return s.memStore.StoreLogs(logs)
}

func BenchmarkStoreOfMemory(b *testing.B) {
	d := disks{}
	BenchmarkLogStore(b, func(b *testing.B, dir string) core.LogStore {
		return bounded{d.open(dir, core.DurableDisk), b}
	})
}

func BenchmarkTransportOfMemory(b *testing.B) {
	BenchmarkTransport(b, func(b *testing.B) (sender, receiver core.Transport) {
		n := inmem.New(inmem.Options{})
		x, err := n.Listen("")
		if err != nil {
			b.Fatal(err)
		}
		y, err := n.Listen("")
		if err != nil {
			b.Fatal(err)
		}
		return x.Transport, y.Transport
	})
}

// TestBenchmarks runs the shared benchmarks for long enough that the log is
// trimmed, and looks at what they print: a flush for each operation of a store
// that counts one per write, trimming left out, and all rates.
func TestBenchmarks(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$", "-test.bench=OfMemory$", "-test.benchtime=300x")
	cmd.WaitDelay = time.Second
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the benchmarks: %v\n%s", err, output)
	}
	lines := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(Benchmark\S+?)(?:-\d+)?\s+300\s+(.*)$`).FindAllStringSubmatch(string(output), -1) {
		lines[m[1]] = m[2]
	}
	const store, transport = "BenchmarkStoreOfMemory/", "BenchmarkTransportOfMemory/"
	for name, want := range map[string][]string{
		store + "op=append/batch=1":                {" 1.000 fsyncs/op", " entries/s", " MB/s"},
		store + "op=append/batch=64":               {" 1.000 fsyncs/op", " entries/s", " MB/s"},
		store + "op=append/batch=512":              {" 1.000 fsyncs/op", " entries/s", " MB/s"},
		store + "op=get":                           {" 0 fsyncs/op", " entries/s", " MB/s"},
		store + "op=delete-prefix/entries=512":     {" 1.000 fsyncs/op", " entries/s", " MB/s"},
		transport + "rpc=append/batch=1":           {" entries/s", " MB/s"},
		transport + "rpc=append/batch=64":          {" entries/s", " MB/s"},
		transport + "rpc=append-pipeline/batch=1":  {" entries/s", " MB/s"},
		transport + "rpc=append-pipeline/batch=64": {" entries/s", " MB/s"},
	} {
		for _, w := range want {
			if !strings.Contains(lines[name], w) {
				t.Errorf("%s prints %q, want%s in it", name, lines[name], w)
			}
		}
		delete(lines, name)
	}
	if len(lines) != 0 || t.Failed() {
		t.Errorf("output of the benchmarks:\n%s", output)
	}
}
