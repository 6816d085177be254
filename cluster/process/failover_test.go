package process

import (
	"context"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/client"
)

// failovers is how often the leader is killed.
const failovers = 20

// TestKillLeaderUnderLoad kills the leader of five with SIGKILL, over and over,
// under load, and starts it again; then reads every acknowledged write back from
// every node. All five are restarted at once at the end: same data, same members.
func TestKillLeaderUnderLoad(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../../cmd/kvnode")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w := realCluster(t, bin, 5)
	w.start()
	nodes, err := client.New(addresses(w.file.Nodes), client.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	loadCtx, endLoad := context.WithCancel(ctx)
	journal := filepath.Join(t.TempDir(), "journal")
	var load sync.WaitGroup
	var result audit.Result
	var loadErr error
	load.Go(func() {
		result, loadErr = audit.Load(loadCtx, audit.Config{
			Client: nodes, JournalPath: journal,
			Parameters: audit.Parameters{Seed: 1, Workers: 8, BatchShare: 0.2, DeleteShare: 0.1},
		})
	})
	for range failovers {
		leader := awaitLeader(ctx, t, w)
		if err := w.Kill(ctx, leader); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the others take writes", func() bool {
			_, err := nodes.Set(ctx, "after", []byte(leader))
			return err == nil // one that was on its way to the dead leader may be of unknown outcome
		})
		if err := w.StartNode(ctx, leader); err != nil {
			t.Fatal(describe(err))
		}
	}
	endLoad()
	load.Wait()
	if loadErr != nil {
		t.Fatal(loadErr)
	}
	t.Logf("%d leaders killed; %d writes acknowledged, %d of unknown outcome, %d refused; longest stall %.0f ms",
		failovers, result.Acknowledged, result.Unknown, result.Refused, result.LongestStallMS)
	if result.Acknowledged < failovers {
		t.Errorf("only %d writes were acknowledged: nothing was tested", result.Acknowledged)
	}
	check(ctx, t, nodes, journal)

	before, err := nodes.Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.start()
	check(ctx, t, nodes, journal)
	after, err := nodes.Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range before {
		before[i].Leader, after[i].Leader = false, false
		if before[i] != after[i] {
			t.Errorf("the restart has made %+v of %+v", after[i], before[i])
		}
	}
}

func awaitLeader(ctx context.Context, t *testing.T, w *world) (leader string) {
	t.Helper()
	eventually(t, "a node leads", func() bool {
		for _, s := range w.Status(ctx) {
			if s.Status != nil && s.Status.Me.Role == string(core.Leader) {
				leader = s.Node.Alias
				return true
			}
		}
		return false
	})
	return leader
}

// check reads back every write of the journal from every node.
func check(ctx context.Context, t *testing.T, nodes *client.Client, path string) {
	t.Helper()
	journal, err := audit.ReadJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := audit.Check(ctx, nodes, journal, nodes.Nodes(), audit.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !found.OK() {
		t.Errorf("%+v", found)
	}
}
