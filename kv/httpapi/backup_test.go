package httpapi_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/backup"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// TestBackup takes one of every node at every level, while the map is larger than what
// is buffered on the way.
func TestBackup(t *testing.T) {
	g := start(t, 3, nil)
	for i := range 8 {
		g.must(g.nodes[0], "PUT", fmt.Sprintf("/key/k%d", i), strings.Repeat("v", 200<<10))
	}
	content := g.nodes[0].store.Image().Content()
	for i, n := range g.nodes {
		for _, level := range []string{api.Linearizable, api.Leader, api.Stale} {
			last := g.must(g.nodes[(i+1)%3], "PUT", "/key/k0", strings.Repeat("v", 200<<10)).Header.Get(api.HeaderIndex)
			if level == api.Stale {
				g.must(n, "GET", "/key/k0", "") // until it has it
			}
			r := g.must(n, "GET", "/backup?consistency="+level, "")
			s, err := backup.Read(strings.NewReader(r.body), nil, nil)
			if err != nil || s.Content != content || s.Keys != 8 || s.Node != n.id || s.Group == "" || s.Term == 0 {
				t.Errorf("%s %s: %+v %v", n.id, level, s, err)
			}
			if got := r.Header.Get(api.HeaderIndex); got != fmt.Sprint(s.Index) || got != last {
				t.Errorf("%s %s: at index %s, want %s", n.id, level, got, last)
			}
		}
	}
	if r := g.must(g.nodes[1], "HEAD", "/backup", ""); r.body != "" || r.Header.Get(api.HeaderIndex) == "" {
		t.Errorf("HEAD: %v %q", r.Header, r.body)
	}
	g.do(g.nodes[0], "GET", "/backup?consistency=some", "").refused(t, 400, api.CodeBadRequest, "consistency")
	g.do(g.nodes[0], "PUT", "/backup", "").refused(t, 405, api.CodeMethodNotAllowed, "GET, HEAD")
}

// electing is a replica on which an entry of a new term is applied whenever it has said which
// the term is.
type electing struct {
	core.Replica
	store *kv.Store

	mu   sync.Mutex
	term uint64 // and index of the last entry
}

// Status implements core.Replica.
func (e *electing) Status() core.Status {
	s := e.Replica.Status()
	e.mu.Lock()
	defer e.mu.Unlock()
	s.Term = e.term
	e.term++
	e.store.Apply(e.term, kv.EncodeSet("k", nil))
	return s
}

// TestBackupTerm: no entry of a backup is of a later term than it says.
func TestBackupTerm(t *testing.T) {
	g := start(t, 1, nil)
	store := kv.New()
	n := g.serve("node9", &electing{Replica: g.nodes[0].replica, store: store}, store, nil)
	s, err := backup.Read(strings.NewReader(g.must(n, "GET", "/backup?consistency=stale", "").body), nil, nil)
	if err != nil || s.Index > s.Term {
		t.Errorf("index %d, of that term, in a backup of term %d: %v", s.Index, s.Term, err)
	}
}

// part is the body of a part.
func part(keys ...string) string {
	var pairs []byte
	for _, key := range keys {
		pairs = kv.AppendPair(pairs, key, []byte("of "+key))
	}
	return string(pairs)
}

// commitOf is the query by which the map becomes these keys.
func commitOf(t *testing.T, keys ...string) string {
	t.Helper()
	m := kv.New()
	for i, key := range keys {
		m.Apply(uint64(i+1), kv.EncodeSet(key, []byte("of "+key)))
	}
	return fmt.Sprintf("?keys=%d&content=%x", len(keys), m.Image().Content())
}

// TestRestore sends the parts to any node, and each more than once.
func TestRestore(t *testing.T) {
	g := start(t, 3, nil)
	g.must(g.nodes[0], "PUT", "/key/old", "1")
	parts := []string{part("a"), part("b", "c"), part("d")}
	for i, body := range parts {
		for again := range 2 {
			g.must(g.nodes[(i+again)%3], "PUT", fmt.Sprintf("/restore/r1?part=%d", i), body)
		}
	}
	g.must(g.nodes[1], "PUT", "/restore/r1?part=0", parts[0]) // once more, and late
	g.must(g.nodes[2], "PUT", "/key/meanwhile", "1")
	if s := g.status(g.nodes[0]); s.Me.Restoring != "r1" || s.Me.Keys != 2 {
		t.Errorf("status: %+v", s.Me)
	}
	g.do(g.nodes[1], "POST", "/restore/r1"+commitOf(t, "a", "b", "c"), "").refused(t, 412, api.CodeConditionFailed, "4 keys have come, not 3")
	g.do(g.nodes[1], "POST", "/restore/r1"+commitOf(t, "a", "b", "c", "e"), "").refused(t, 412, api.CodeConditionFailed, "another digest")
	g.do(g.nodes[1], "PUT", "/restore/r1?part=5", "").refused(t, 412, api.CodeConditionFailed, "part 3 did not")
	for i := range 2 {
		g.must(g.nodes[i], "POST", "/restore/r1"+commitOf(t, "a", "b", "c", "d"), "")
		for _, n := range g.nodes {
			if r := g.must(n, "GET", "/key/c", ""); r.body != `{"c":"of c"}`+"\n" && r.body != `{"c":"of c"}` {
				t.Errorf("%s: %q", n.id, r.body)
			}
			g.do(n, "GET", "/key/meanwhile", "").is(t, http.StatusNotFound)
		}
	}
	g.must(g.nodes[2], "DELETE", "/restore/r1", "") // which is done
	g.must(g.nodes[1], "POST", "/restore/r1"+commitOf(t, "a", "b", "c", "d"), "")
	g.must(g.nodes[1], "PUT", "/restore/r1?part=0", part("a"))
	if id, _ := g.nodes[0].store.Restoring(); id != "" {
		t.Errorf("a part that came late is gathered, of %s", id)
	}
	g.must(g.nodes[2], "DELETE", "/restore/r0", "")
	g.do(g.nodes[1], "PUT", "/restore/r0?part=0", part("a")).refused(t, 412, api.CodeConditionFailed, "not under way")
	g.must(g.nodes[0], "PUT", "/restore/r2?part=0", part("x"))
	g.must(g.nodes[0], "PUT", "/restore/r3?part=0", part("y"))
	g.do(g.nodes[0], "PUT", "/restore/r2?part=1", part("z")).refused(t, 412, api.CodeConditionFailed, "another restore has begun")
}

func (r response) is(t *testing.T, status int) {
	t.Helper()
	if r.StatusCode != status {
		t.Errorf("%d %q, want %d", r.StatusCode, r.body, status)
	}
}

func (g *group) status(n *node) (s api.Status) {
	g.t.Helper()
	if err := json.Unmarshal([]byte(g.must(n, "GET", "/status", "").body), &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

func TestRestoreRefuses(t *testing.T) {
	g := start(t, 1, nil)
	content := strings.Repeat("0", 2*sha256.Size)
	for _, c := range []struct{ method, target, body, says string }{
		{"PUT", "/restore/r", "", "part="},
		{"PUT", "/restore/r?part=-1", "", "part="},
		{"PUT", "/restore/?part=0", "", "without an id"},
		{"PUT", "/restore/" + strings.Repeat("r", 65) + "?part=0", "", "at most 64"},
		{"PUT", "/restore/r?part=0", part("b", "a"), `key "a" after "b"`},
		{"PUT", "/restore/r?part=0", "\xff", "bad length"},
		{"POST", "/restore/r?keys=1", "", "content="},
		{"POST", "/restore/r?keys=1&content=" + content[1:], "", "content="},
		{"POST", "/restore/r?keys=1&content=" + content + "00", "", "content="},
		{"POST", "/restore/r?content=" + content, "", "keys="},
		{"DELETE", "/restore/", "", "without an id"},
	} {
		g.do(g.nodes[0], c.method, c.target, c.body).refused(t, 400, api.CodeBadRequest, c.says)
	}
	if n := g.commands(); n != 1 { // its own announcement
		t.Errorf("%d commands were applied", n)
	}
}

// TestRestoreAsksAllMembers: one that does not know the commands would not follow the
// others, so the leader asks first; then nothing has changed.
func TestRestoreAsksAllMembers(t *testing.T) {
	told := directories{}
	g := start(t, 2, func(string) httpapi.Directory { return told })
	for _, n := range g.nodes {
		told[n.id] = n.address()
	}
	leader, before := g.nodes[0], g.commands()
	told["node2"] = g.older(g.nodes[1])
	g.do(leader, "PUT", "/restore/r?part=0", part("a")).refused(t, 400, api.CodeBadRequest, "node node2 runs kvnode 0.1, which knows no restore")
	told["node2"] = leader.address()
	g.do(leader, "PUT", "/restore/r?part=0", part("a")).refused(t, 503, api.CodeNotReady, `there is "node1"`)
	told["node2"] = freeAddress(t)
	g.do(leader, "PUT", "/restore/r?part=0", part("a")).refused(t, 503, api.CodeNotReady, "start it, or remove it")
	if n := g.commands(); n != before {
		t.Errorf("%d commands were applied", n-before)
	}
	told["node2"] = g.nodes[1].address()
	g.must(leader, "PUT", "/restore/r?part=0", part("a"))
}

// older returns where n serves as a kvnode did that knew no restore.
func (g *group) older(n *node) (address string) {
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := g.status(n)
		s.Me.Features, s.Me.Version = nil, "0.1"
		w.Header().Set(api.HeaderNode, n.id)
		_ = json.NewEncoder(w).Encode(s)
	}))
	g.t.Cleanup(old.Close)
	return old.Listener.Addr().String()
}

// TestOlderIsNotAdded: a node that does not know the commands of a restore would be sent a log
// that may hold some, also once the restore is over, so it gets into no group that does.
func TestOlderIsNotAdded(t *testing.T) {
	g := start(t, 3, nil)
	n4 := g.newcomer("n4")
	at := func(address string) string {
		return fmt.Sprintf(`{"id":"n4","address":%q,"http_address":%q}`, n4.replica.Status().Address, address)
	}
	refused := func(when string) {
		t.Helper()
		g.do(g.nodes[1], "POST", "/join", at(g.older(n4))).refused(t, 400, api.CodeBadRequest, "node n4 runs kvnode 0.1, which knows no restore: start it with a newer kvnode")
		if got := g.memberList(g.nodes[0]); got != "node1 (leader), node2, node3" {
			t.Errorf("%s: %s", when, got)
		}
	}
	refused("before")
	g.must(g.nodes[0], "PUT", "/restore/r?part=0", part("a"))
	refused("while it goes on")
	g.must(g.nodes[0], "POST", "/restore/r"+commitOf(t, "a"), "")
	g.must(g.nodes[0], "DELETE", "/restore/r", "")
	refused("after it")
	g.do(g.nodes[1], "POST", "/join", at(freeAddress(t))).refused(t, 400, api.CodeBadRequest, "does not answer at its http_address")
	g.must(g.nodes[1], "POST", "/join", at(n4.address()))
	g.must(g.nodes[1], "POST", "/join", at(g.older(n4))) // it is a member: that it can restore is asked by the next restore
}
