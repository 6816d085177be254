package node

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/cluster/clustertest"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/etcd"
	"github.com/themilchenko/raftlab/engines/hashicorp"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/transports/tcp"
)

var kills = flag.Int("kills", 1, "how often a process is killed at each step of a recovery and of a migration")

func bothEngines() map[string]core.Engine {
	return map[string]core.Engine{"hashicorp": hashicorp.Engine{}, "etcd": etcd.Engine{}}
}

func testParts() Parts {
	return Parts{Open: openBuiltin, Engine: func(name string) (core.Engine, error) { return bothEngines()[name], nil }}
}

// lostGroup is the folder of a group of five that has lost n1, n2 and n3. n5 was stopped
// before "late" was written, of which n4 knows.
type lostGroup struct {
	t      *testing.T
	engine core.Engine
	dir    string
	raft   map[string]string // addresses
}

func (g lostGroup) dirs(in string) []string {
	return []string{filepath.Join(in, "n5"), filepath.Join(in, "n4")}
}

// copy returns the folders of n5 and n4, in a folder of their own.
func (g lostGroup) copy() []string {
	g.t.Helper()
	dir := g.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
		g.t.Fatal(err)
	}
	return g.dirs(dir)
}

func loseMajority(t *testing.T, engine core.Engine) lostGroup {
	t.Helper()
	g := lostGroup{t: t, engine: engine, dir: t.TempDir(), raft: map[string]string{}}
	network := clustertest.TCP(t)
	profile, _ := ProfileOf(Local)
	nodes := map[string]*Node{}
	for i := range 5 {
		id := fmt.Sprintf("n%d", i+1)
		cfg := config(t, Config{ID: id, Engine: engine, Data: filepath.Join(g.dir, id), Profile: profile, Tuning: profile.Tuned(core.Tuning{})})
		if cfg.Network = network; i > 0 {
			cfg.Join = []string{nodes["n1"].http}
		}
		n, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		nodes[id], g.raft[id] = n, n.raft
	}
	known := func(n *Node) bool {
		var remembered map[string]string
		data, err := os.ReadFile(filepath.Join(n.dir.path, nodesName))
		if err != nil || json.Unmarshal(data, &remembered) != nil {
			return false
		}
		s := n.replica.Status()
		voters := slices.DeleteFunc(slices.Clone(s.Members), func(m core.Member) bool { return !m.Voter })
		return len(voters) == 5 && len(n.store.Nodes()) == 5 && len(remembered) == 5
	}
	for _, n := range nodes {
		eventually(t, n.id+" knows all five", func() bool { return known(n) })
	}
	set := func(key string, on ...string) {
		eventually(t, key+" is written", func() bool {
			_, err := nodes["n1"].replica.Propose(t.Context(), kv.EncodeSet(key, []byte("of "+key)))
			return err == nil
		})
		for _, id := range on {
			eventually(t, id+" has "+key, func() bool { _, _, ok := nodes[id].store.Get(key); return ok })
		}
	}
	for i := range 20 {
		set(fmt.Sprintf("early%d", i), "n4", "n5")
	}
	stop := func(ids ...string) {
		for _, id := range ids {
			if err := nodes[id].Stop(); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop("n5")
	set("late", "n4")
	stop("n4", "n1", "n2", "n3")
	for _, id := range []string{"n1", "n2", "n3"} {
		if err := os.RemoveAll(filepath.Join(g.dir, id)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// content is what a folder holds, and of which group.
type content struct {
	group string
	pairs []kv.Pair
}

// open opens a folder as the start of a node does, and reads it.
func (g lostGroup) open(dir string) content {
	g.t.Helper()
	d, err := openDataDir(dir)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := errors.Join(d.settle(nil), d.Close()); err != nil {
		g.t.Fatal(err)
	}
	r, err := openRemains(g.t.Context(), dir, testParts(), true)
	if err != nil {
		g.t.Fatal(err)
	}
	all, err := r.replay()
	if err := errors.Join(err, r.Close()); err != nil {
		g.t.Fatal(err)
	}
	return content{r.Identity.Group, all.Scan("", "", 0)}
}

func (g lostGroup) recovery(dirs []string) Recovery {
	return Recovery{Dirs: dirs, Parts: testParts(), Confirm: func(RecoveryPlan) error { return nil }}
}

// TestRecover: two of five become a group with all that either had, say what they have done,
// and run; to recover them again is refused.
func TestRecover(t *testing.T) {
	for name, engine := range bothEngines() {
		t.Run(name, func(t *testing.T) {
			g := loseMajority(t, engine)
			dirs := g.copy()
			old := []content{g.open(dirs[0]), g.open(dirs[1])}
			plan, err := Recover(t.Context(), g.recovery(dirs))
			if err != nil {
				t.Fatal(err)
			}
			n4, n5 := plan.Survivors[0], plan.Survivors[1]
			if n4.ID != "n4" || n5.ID != "n5" || n4.LastIndex <= n5.LastIndex || plan.Complete || plan.Becomes.Index != n4.LastIndex || plan.Becomes.From != old[0].group {
				t.Errorf("%+v, %+v, %+v", plan, n4, n5)
			}
			for i, dir := range dirs {
				if now := g.open(dir); now.group != plan.Becomes.Group || !reflect.DeepEqual(now.pairs, old[1].pairs) {
					t.Errorf("%s holds %+v, want %+v", dir, now, old[1])
				}
				for _, kept := range []string{logDir, snapshotsName} {
					if _, err := os.Stat(filepath.Join(dir, kept)); err != nil {
						t.Errorf("%d: %v", i, err)
					}
				}
			}
			if again, err := Recover(t.Context(), g.recovery(dirs)); !errors.Is(err, ErrRecovered) || again.Becomes.Group != plan.Becomes.Group {
				t.Errorf("again: %+v, %v", again, err)
			}
			g.goOn(dirs, plan)
		})
	}
}

// goOn starts the nodes of a recovered group, and a new n1.
func (g lostGroup) goOn(dirs []string, plan RecoveryPlan) {
	t := g.t
	t.Helper()
	profile, _ := ProfileOf(Local)
	start := func(id, dir, at string, join ...string) *Node {
		cfg := config(t, Config{ID: id, Engine: g.engine, Data: dir, Profile: profile, Tuning: profile.Tuned(core.Tuning{}), Join: join})
		if cfg.RaftBind = at; at == "" {
			cfg.RaftBind = "127.0.0.1:0"
		}
		cfg.Network = tcp.New(tcp.Options{})
		n, err := Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	n5, n4 := start("n5", dirs[0], g.raft["n5"]), start("n4", dirs[1], g.raft["n4"])
	leader := func() *Node {
		for _, n := range []*Node{n4, n5} {
			if n.replica.Status().Role == core.Leader {
				return n
			}
		}
		return nil
	}
	eventually(t, "one leads", func() bool { return leader() != nil })
	if s := n4.replica.Status(); s.Group != plan.Becomes.Group || len(s.Members) != 2 {
		t.Errorf("%+v", s)
	}
	var applied core.Applied
	eventually(t, "it takes writes", func() bool {
		l := leader()
		if l == nil {
			return false
		}
		var err error
		applied, err = l.replica.Propose(t.Context(), kv.EncodeSet("new", nil))
		return err == nil
	})
	if applied.Index <= plan.Becomes.Index+unusedIndexes {
		t.Errorf("a client may have seen index %d of the group that was lost", applied.Index)
	}
	n1 := start("n1", t.TempDir(), "", n4.http)
	eventually(t, "a new n1 is a member", func() bool {
		_, _, late := n1.store.Get("late")
		me, _ := leaderStatus(leader()).Member("n1")
		return late && me.Voter
	})
	eventually(t, "nobody knows n2 any more", func() bool {
		return slices.Equal(slices.Sorted(maps.Keys(n1.store.Nodes())), []string{"n1", "n4", "n5"})
	})
}

func leaderStatus(n *Node) core.Status {
	if n == nil {
		return core.Status{}
	}
	return n.replica.Status()
}

// someMembers are those of a group that is made without a process.
func someMembers(ids ...string) (members []core.Member) {
	for i, id := range ids {
		members = append(members, core.Member{ID: id, Incarnation: core.NewIncarnation(), Address: fmt.Sprintf("127.0.0.1:%d", i+1), Voter: true})
	}
	return members
}

// foundedAt is the last entry of the state that folderOf begins with.
const foundedAt = 10

// folderOf makes the folder of a member whose log has entries of these terms behind a state
// as of entry 10 of term 2.
func folderOf(t *testing.T, id string, members []core.Member, terms ...uint64) string {
	t.Helper()
	return folderFrom(t, foundedAt, id, members, terms...)
}

// folderFrom is folderOf with a state as of another entry.
func folderFrom(t *testing.T, begin uint64, id string, members []core.Member, terms ...uint64) string {
	t.Helper()
	return folderIn(t, "bolt", begin, id, members, terms...)
}

// folderIn is folderFrom with its log in another store.
func folderIn(t *testing.T, backend string, begin uint64, id string, members []core.Member, terms ...uint64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), id)
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	me, _ := core.Status{Members: members}.Member(id)
	err = d.claim(identity{ID: id, Backend: backend, Engine: "hashicorp", Incarnation: me.Incarnation, Created: time.Now()})
	logs, errOpen := openBuiltin(backend, filepath.Join(dir, logDir))
	if err := errors.Join(err, errOpen, d.Close()); err != nil {
		t.Fatal(err)
	}
	store := kv.New()
	store.Apply(begin, kv.EncodeSet("founded", nil))
	state, err := store.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer state.Release()
	err = hashicorp.Engine{}.Found(logs, dir, core.Founding{ID: id, Members: members, Index: begin, Term: 2, State: state})
	for i, term := range terms {
		index := begin + 1 + uint64(i)
		err = errors.Join(err, logs.StoreLog(&raft.Log{Index: index, Term: term, Data: kv.EncodeSet(fmt.Sprintf("key%d", index), fmt.Appendf(nil, "of term %d", term))}))
	}
	if err := errors.Join(err, logs.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRecoverRefused says why, and changes nothing.
func TestRecoverRefused(t *testing.T) {
	five := someMembers("n1", "n2", "n3", "n4", "n5")
	n4, n5 := folderOf(t, "n4", five, 3, 3), folderOf(t, "n5", five, 3)
	replaced := slices.Clone(five)
	replaced[4].Incarnation = core.NewIncarnation()
	empty := logFolder(t, "bolt")
	g := lostGroup{t: t}
	for want, r := range map[string]Recovery{
		"no folder":                 g.recovery(nil),
		"there is no node.json":     g.recovery([]string{t.TempDir()}),
		"are the same folder":       g.recovery([]string{n4, n4 + "/."}),
		"are both of n5":            g.recovery([]string{n4, n5, folderOf(t, "n5", five)}),
		"have nothing in common":    g.recovery([]string{n4, folderOf(t, "n5", replaced)}),
		"n5 was removed":            g.recovery([]string{without(t, folderOf(t, "n4", five), five[:4]), n5}),
		"is that of n5, not of n9":  g.recovery([]string{n4, renamed(t, folderOf(t, "n5", five), "n9")}),
		"3 of the 5 voters are":     g.recovery([]string{n4, n5, folderOf(t, "n3", five)}),
		"leave out n5":              {Dirs: []string{n4, n5}, Members: map[string]string{"n4": "127.0.0.1:4"}},
		"n6 is to be a member, but": {Dirs: []string{n4}, Members: map[string]string{"n4": "127.0.0.1:4", "n6": "127.0.0.1:6"}},
		"two members have the addr": {Dirs: []string{n4, n5}, Members: map[string]string{"n4": "127.0.0.1:4", "n5": "127.0.0.1:4"}},
		"entry 10 is committed, as": g.recovery([]string{n4, folderFrom(t, foundedAt-2, "n5", five, 4)}),
		"which is the newest, is":   g.recovery([]string{n4, folderFrom(t, foundedAt-2, "n5", five, 4, 4, 4)}),
		"not today":                 {Dirs: []string{n4, n5}, Confirm: func(RecoveryPlan) error { return errors.New("not today") }},
		"n1":                        g.recovery([]string{empty}),
	} {
		if r.Parts = testParts(); r.Confirm == nil {
			r.Confirm = func(RecoveryPlan) error { return nil }
		}
		if _, err := Recover(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, and it says: %v", want, err)
		}
	}
	held, err := openDataDir(n4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), g.recovery([]string{n5, n4})); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by another kvnode (pid %d)", os.Getpid())) {
		t.Errorf("while a node runs: %v", err)
	}
	if held.Close() != nil || held.identity.Pending != nil || g.open(n4).group != core.GroupID(five) || g.open(n5).group != core.GroupID(five) {
		t.Errorf("changed: %+v", held.identity)
	}
}

// without has the log in the folder end with a configuration of these members.
func without(t *testing.T, dir string, members []core.Member) string {
	t.Helper()
	var servers raft.Configuration
	for _, m := range members {
		servers.Servers = append(servers.Servers, raft.Server{ID: raft.ServerID(m.ID + "#" + m.Incarnation), Address: raft.ServerAddress(m.Address)})
	}
	logs, err := openBuiltin("bolt", filepath.Join(dir, logDir))
	if err != nil {
		t.Fatal(err)
	}
	err = logs.StoreLog(&raft.Log{Index: foundedAt + 1, Term: 9, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(servers)})
	if err := errors.Join(err, logs.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func renamed(t *testing.T, dir, id string) string {
	t.Helper()
	d, err := openDataDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	i := *d.identity
	i.ID = id
	if err := errors.Join(d.claim(i), d.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestRecoveryPlan: the newest log counts; what contradicts it, what it is not sure of and
// what may be missing is told to the entry.
func TestRecoveryPlan(t *testing.T) {
	five := someMembers("n1", "n2", "n3", "n4", "n5")
	g := lostGroup{t: t}
	dirs := []string{folderOf(t, "n4", five, 3, 3, 3, 3), folderOf(t, "n5", five, 3, 4)}
	plan, err := Recover(t.Context(), g.recovery(dirs))
	if err != nil {
		t.Fatal(err)
	}
	n5, n4 := plan.Survivors[0], plan.Survivors[1]
	if n5.ID != "n5" || plan.Committed != foundedAt || plan.Complete || plan.Becomes.Index != 12 || plan.Becomes.Term != 4 ||
		!slices.Equal(plan.Unsure, []Span{{11, 11, 3}, {12, 12, 4}}) || !slices.Equal(n4.Dropped, []Span{{12, 14, 3}}) || n5.Dropped != nil {
		t.Errorf("%+v; %+v; %+v", plan, n5, n4)
	}
	for _, dir := range dirs {
		pairs := g.open(dir).pairs
		if len(pairs) != 3 || string(pairs[2].Value) != "of term 4" {
			t.Errorf("%s: %+v", dir, pairs)
		}
	}
	four := someMembers("n1", "n2", "n3", "n4")
	half := g.recovery([]string{folderOf(t, "n3", four), folderOf(t, "n4", four)})
	half.Confirm = func(p RecoveryPlan) error { plan = p; return errors.New("enough") }
	if _, err := Recover(t.Context(), half); err == nil || !plan.Complete {
		t.Errorf("two of four: %+v, %v", plan, err)
	}
}

// TestContradicts: two logs are the same up to the last entry that has one term in both.
func TestContradicts(t *testing.T) {
	for name, c := range map[string]struct {
		snapshot, newest uint64 // last entries of the snapshots
		spans, others    []Span
		want             []Span
	}{
		"equal":             {0, 0, []Span{{1, 5, 1}}, []Span{{1, 5, 1}}, nil},
		"shorter":           {0, 0, []Span{{1, 3, 1}}, []Span{{1, 5, 1}}, nil},
		"of an older term":  {0, 0, []Span{{1, 9, 1}}, []Span{{1, 5, 1}, {6, 6, 2}}, []Span{{6, 9, 1}}},
		"longer":            {0, 0, []Span{{1, 9, 1}}, []Span{{1, 4, 1}, {5, 5, 2}}, []Span{{5, 9, 1}}},
		"of two terms":      {0, 0, []Span{{1, 2, 1}, {3, 4, 2}}, []Span{{1, 1, 1}, {2, 2, 3}}, []Span{{2, 2, 1}, {3, 4, 2}}},
		"all":               {0, 0, []Span{{1, 2, 1}}, []Span{{1, 1, 3}}, []Span{{1, 2, 1}}},
		"snapshots":         {3, 5, []Span{{3, 3, 1}, {4, 8, 1}}, []Span{{5, 5, 1}, {6, 7, 2}}, []Span{{6, 8, 1}}},
		"before a snapshot": {0, 5, []Span{{1, 4, 1}}, []Span{{5, 5, 2}}, nil},
		"at a snapshot":     {0, 5, []Span{{1, 5, 1}}, []Span{{5, 5, 2}}, []Span{{5, 5, 1}}},
		"over a snapshot":   {0, 5, []Span{{1, 7, 1}}, []Span{{5, 6, 2}}, []Span{{5, 7, 1}}},
	} {
		s := &Survivor{SnapshotIndex: c.snapshot, LastIndex: c.spans[len(c.spans)-1].Last, spans: c.spans}
		newest := &Survivor{SnapshotIndex: c.newest, LastIndex: c.others[len(c.others)-1].Last, spans: c.others}
		if got := s.contradicts(newest); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// doomed is what this program does, as another process, until it kills itself.
type doomed struct {
	Dirs  []string // of survivors; one: to be migrated
	Step  int      // that it is killed at
	After time.Duration
}

const doomedEnv = "KVNODE_TEST_DOOMED"

// live returns an exit code if it was not killed.
func (d doomed) live() int {
	at := 0
	step := func(string) error {
		if at++; at != d.Step {
			return nil
		}
		die := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
		if d.After == 0 {
			die()
		}
		time.AfterFunc(d.After, die)
		return nil
	}
	var err error
	if len(d.Dirs) == 1 {
		_, err = Migrate(context.Background(), Migration{Data: d.Dirs[0], To: "wal", Open: openBuiltin, step: step})
	} else {
		r := (lostGroup{}).recovery(d.Dirs)
		r.step = step
		_, err = Recover(context.Background(), r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run says whether the process was killed.
func (d doomed) run(t *testing.T) (killed bool) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), doomedEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("%v\n%s", err, out)
	}
	return true
}

// eachKill has processes killed at each step of what they do, -kills times: once as it
// begins, and then at some moment after that. It returns at how many steps.
func eachKill(t *testing.T, run func(step int, after time.Duration) (killed bool)) (steps int) {
	for step := 1; ; step++ {
		for n := range *kills {
			var after time.Duration
			if n > 0 {
				after = 1 + rand.N(5*time.Millisecond)
			}
			if !run(step, after) && n == 0 {
				return step - 1
			}
		}
	}
}

// TestRecoverKilled kills recoveries at each of their steps. The folders, opened in any
// order, hold all the old state or all the new one; to give the command again ends it.
func TestRecoverKilled(t *testing.T) {
	for name, engine := range bothEngines() {
		t.Run(name, func(t *testing.T) {
			g := loseMajority(t, engine)
			old := []content{g.open(g.dirs(g.dir)[0]), g.open(g.dirs(g.dir)[1])}
			switched := 0
			steps := eachKill(t, func(step int, after time.Duration) bool {
				dirs := g.copy()
				killed := doomed{dirs, step, after}.run(t)
				again := t.TempDir()
				if err := os.CopyFS(again, os.DirFS(filepath.Dir(dirs[0]))); err != nil {
					t.Fatal(err)
				}
				var now [2]content
				for _, i := range rand.Perm(2) {
					now[i] = g.open(dirs[i])
				}
				wasOld := reflect.DeepEqual(now[:], old)
				isNew := now[0].group != old[0].group && reflect.DeepEqual(now[0], now[1]) && reflect.DeepEqual(now[0].pairs, old[1].pairs)
				if wasOld == isNew {
					t.Errorf("killed %v after step %d: %+v and %+v", after, step, now[0], now[1])
				}
				if isNew {
					switched++
				}
				if _, err := Recover(t.Context(), g.recovery(g.dirs(again))); err != nil && !errors.Is(err, ErrRecovered) {
					t.Errorf("again after it was killed %v after step %d: %v", after, step, err)
				}
				a, b := g.open(g.dirs(again)[0]), g.open(g.dirs(again)[1])
				if a.group == old[0].group || !reflect.DeepEqual(a, b) || !reflect.DeepEqual(a.pairs, old[1].pairs) {
					t.Errorf("again after it was killed %v after step %d: %+v and %+v", after, step, a, b)
				}
				if isNew && a.group != now[0].group {
					t.Errorf("killed %v after step %d: what was decided was decided again", after, step)
				}
				return killed
			})
			if steps < 10 || switched < 2 {
				t.Errorf("killed at %d steps, %d times switched", steps, switched)
			}
			t.Logf("%d steps, %d times each; %d times the new state", steps, *kills, switched)
		})
	}
}

// TestMigrateDies is TestMigrateKilled with processes that are killed.
func TestMigrateDies(t *testing.T) {
	whole := logFolder(t, "bolt")
	switched := 0
	steps := eachKill(t, func(step int, after time.Duration) bool {
		dir := filepath.Join(t.TempDir(), "n1")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		killed := doomed{[]string{dir}, step, after}.run(t)
		if checkLog(t, dir) == "wal" {
			switched++
		}
		if got := folders(t, dir); len(got) != 1 {
			t.Errorf("killed %v after step %d: folders %q", after, step, got)
		}
		return killed
	})
	if steps < 8 || switched < 2 {
		t.Errorf("killed at %d steps, %d times switched", steps, switched)
	}
	t.Logf("%d steps, %d times each; %d times the new store", steps, *kills, switched)
}

// TestUndecided: what is pending in a folder is settled by what the deciding one says, and
// by no other folder that is there in its place.
func TestUndecided(t *testing.T) {
	five := someMembers("n1", "n2", "n3", "n4", "n5")
	g := lostGroup{t: t}
	for name, c := range map[string]struct {
		stop string               // step that the recovery ends before
		then func(decider string) // what happens to the deciding folder
		want string               // of the other: "old", "new", or the text of an error
	}{
		"not decided":         {"switch n4", func(string) {}, "old"},
		"decided":             {"switch n5", func(string) {}, "new"},
		"decided and moved":   {"switch n5", func(dir string) { move(t, dir) }, "cannot be read"},
		"recovered once more": {"switch n5", func(dir string) { recoverAgain(t, dir) }, "new"},
		"another in its place": {"switch n5", func(dir string) {
			move(t, dir)
			if err := os.Rename(folderOf(t, "n4", five), dir); err != nil {
				t.Fatal(err)
			}
		}, "it is not the folder of then"},
	} {
		dirs := []string{folderOf(t, "n4", five, 3, 3), folderOf(t, "n5", five, 3)}
		r := g.recovery(dirs)
		r.step = func(name string) error {
			if name == c.stop {
				panic("killed")
			}
			return nil
		}
		if err := killed(func() error { _, err := Recover(t.Context(), r); return err }); err != nil {
			t.Fatal(name, err)
		}
		c.then(dirs[0])
		d, err := openDataDir(dirs[1])
		if err != nil {
			t.Fatal(name, err)
		}
		err = d.settle(nil)
		state := "old"
		if d.identity.State != "" {
			state = "new"
		}
		if c.want != state && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %s, %v; want %s", name, state, err, c.want)
		}
		if left := d.identity.Pending != nil; left != (err != nil) || err != nil && !strings.Contains(err.Error(), "put a link there") {
			t.Errorf("%s: pending: %t, %v", name, left, err)
		}
		if err := d.Close(); err != nil {
			t.Error(name, err)
		}
	}
}

func move(t *testing.T, dir string) {
	t.Helper()
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
}

// recoverAgain adds a member that is lost at once to the group in the folder, and recovers it.
func recoverAgain(t *testing.T, dir string) {
	t.Helper()
	r := (lostGroup{t: t}).recovery([]string{dir})
	if _, err := Recover(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// TestMigrateRecovered: the log of a recovered group is moved like any other.
func TestMigrateRecovered(t *testing.T) {
	g := lostGroup{t: t}
	dir := folderOf(t, "n4", someMembers("n1", "n2", "n4"), 3)
	plan, err := Recover(t.Context(), g.recovery([]string{dir}))
	if err != nil {
		t.Fatal(err)
	}
	state := statePrefix + plan.Becomes.Group
	before := g.open(dir)
	done, err := Migrate(t.Context(), Migration{Data: dir, To: "wal", Open: openBuiltin})
	if err != nil || done.ID != "n4" {
		t.Errorf("%+v, %v", done, err)
	}
	if now := g.open(dir); !reflect.DeepEqual(now, before) {
		t.Errorf("%+v, before %+v", now, before)
	}
	if got := folders(t, filepath.Join(dir, state)); !slices.Equal(got, []string{"log-wal", snapshotsName}) {
		t.Errorf("%q", got)
	}
	if got := folders(t, dir); !slices.Equal(got, []string{state, logDir, snapshotsName}) {
		t.Errorf("%q", got)
	}
}
