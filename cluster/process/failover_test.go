package process

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/bench/audit"
	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/client"
)

// failovers is how often the leader is killed.
const failovers = 20

// TestKillLeaderUnderLoad kills the leader of five with SIGKILL, over and over,
// under load, and starts it again; then reads every acknowledged write back from
// every node. All five are restarted at once at the end: same data, same members.
func TestKillLeaderUnderLoad(t *testing.T) {
	bin := filepath.Dir(clustertest.Program(t, "kvnode"))
	w := realCluster(t, bin, 5)
	w.start()
	nodes, err := client.New(addresses(w.file.Nodes), client.Options{Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	load := startLoad(ctx, t, nodes, audit.Parameters{Seed: 1, Workers: 8, BatchShare: 0.2, DeleteShare: 0.1})
	for range failovers {
		leader := awaitLeader(ctx, t, w)
		if err := w.Kill(ctx, leader); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the others take writes", func() bool {
			_, err := nodes.Set(ctx, "after", []byte(leader))
			return err == nil // one that was on its way to the dead leader may be of unknown outcome
		})
		if err := w.StartNodes(ctx, leader); err != nil {
			t.Fatal(describe(err))
		}
	}
	result := load.end()
	t.Logf("%d leaders killed; %d writes acknowledged, %d of unknown outcome, %d refused; longest stall %v",
		failovers, result.Acknowledged, result.Unknown, result.Refused, result.LongestStall)
	if result.Acknowledged < failovers {
		t.Errorf("only %d writes were acknowledged: nothing was tested", result.Acknowledged)
	}
	check(ctx, t, nodes, load.journal)

	before, err := nodes.Members(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.start()
	check(ctx, t, nodes, load.journal)
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

// load is writes under way.
type load struct {
	t       *testing.T
	journal string
	stop    context.CancelFunc
	done    chan struct{}
	result  audit.Result
	err     error
}

// startLoad writes until end is called, or the test is over.
func startLoad(ctx context.Context, t *testing.T, nodes *client.Client, p audit.Parameters) *load {
	ctx, stop := context.WithCancel(ctx)
	l := &load{t: t, journal: filepath.Join(t.TempDir(), "journal"), stop: stop, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.result, l.err = audit.Load(ctx, audit.Config{Client: nodes, JournalPath: l.journal, Parameters: p})
	}()
	t.Cleanup(func() { stop(); <-l.done })
	return l
}

func (l *load) end() audit.Result {
	l.t.Helper()
	l.stop()
	<-l.done
	if l.err != nil {
		l.t.Fatal(l.err)
	}
	return l.result
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
