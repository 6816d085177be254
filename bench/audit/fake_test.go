package audit

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deed is what a fake group does with a write.
type deed int

const (
	apply         deed = iota // and acknowledge
	drop                      // and acknowledge: the fault that an audit is for
	applyUnknown              // and say that the outcome is unknown
	applyLater                // the same, but with flush only
	forgetUnknown             // do not apply, say that the outcome is unknown
	tearUnknown               // apply to one key of it, say that the outcome is unknown
	refuse                    // with a code that a client does not try again on
	blame                     // refuse, because the request is malformed
)

// fakeGroup speaks kvnode's HTTP over plain maps, one for each node, and does
// with each write what decide says.
type fakeGroup struct {
	decide func(number int, keys []string) deed
	pretty bool // all digests are the same
	client *client.Client

	mu        sync.Mutex
	number    int // of writes so far
	nodes     []map[string]string
	late      []map[string]*string // nil: deleted
	endpoints []string
}

func startFake(t testing.TB, nodes int, decide func(int, []string) deed) *fakeGroup {
	t.Helper()
	g := &fakeGroup{decide: decide}
	for i := range nodes {
		g.nodes = append(g.nodes, make(map[string]string))
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.serve(w, r, g.nodes[i])
		}))
		t.Cleanup(s.Close)
		g.endpoints = append(g.endpoints, s.Listener.Addr().String())
	}
	var err error
	if g.client, err = client.New(g.endpoints, client.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.client.Close() })
	return g
}

func (g *fakeGroup) serve(w http.ResponseWriter, r *http.Request, held map[string]string) {
	w.Header().Set(api.HeaderNode, "n")
	key, single := strings.CutPrefix(r.URL.Path, "/key/")
	switch {
	case r.URL.Path == "/digest":
		if g.pretty {
			held = nil
		}
		h := sha256.New()
		for _, k := range slices.Sorted(maps.Keys(held)) {
			io.WriteString(h, k+"\x00"+held[k]+"\x00")
		}
		json.NewEncoder(w).Encode(api.Digest{Keys: len(held), SHA256: fmt.Sprintf("%x", h.Sum(nil))})
	case r.Method == http.MethodGet && single:
		if _, ok := held[key]; !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, held[key])
	case r.Method == http.MethodGet:
		json.NewEncoder(w).Encode(page(held, r.URL.Query()))
	default:
		changes := map[string]*string{}
		body, _ := io.ReadAll(r.Body)
		if value := string(body); r.Method == http.MethodDelete {
			changes[key] = nil
		} else if single {
			changes[key] = &value
		} else if err := json.Unmarshal(body, &changes); err != nil {
			panic(err) // the test's own fault
		}
		g.write(w, changes)
	}
}

func page(held map[string]string, q url.Values) api.Page {
	limit, _ := strconv.Atoi(q.Get("limit"))
	var p api.Page
	for _, k := range slices.Sorted(maps.Keys(held)) {
		if strings.HasPrefix(k, q.Get("prefix")) && k > q.Get("after") {
			if len(p.Pairs) == limit {
				p.Next = p.Pairs[limit-1].Key
				break
			}
			p.Pairs = append(p.Pairs, api.Pair{Key: k, Value: held[k]})
		}
	}
	return p
}

func (g *fakeGroup) write(w http.ResponseWriter, changes map[string]*string) {
	g.number++
	keys := slices.Sorted(maps.Keys(changes))
	todo := apply
	if g.decide != nil {
		todo = g.decide(g.number, keys)
	}
	switch todo {
	case apply, applyUnknown:
		g.apply(changes)
	case applyLater:
		g.late = append(g.late, changes)
	case tearUnknown:
		g.apply(map[string]*string{keys[0]: changes[keys[0]]})
	}
	switch todo {
	case apply, drop:
		w.Header().Set(api.HeaderIndex, strconv.Itoa(g.number))
	case refuse:
		w.WriteHeader(http.StatusInternalServerError)
		json.NewEncoder(w).Encode(api.Error{Error: "refused", Code: api.CodeInternal})
	case blame:
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(api.Error{Error: "malformed", Code: api.CodeBadRequest})
	default:
		w.WriteHeader(http.StatusGatewayTimeout)
		json.NewEncoder(w).Encode(api.Error{Error: "unknown", Code: api.CodeOutcomeUnknown})
	}
}

func (g *fakeGroup) apply(changes map[string]*string) {
	for _, held := range g.nodes {
		for key, value := range changes {
			if value == nil {
				delete(held, key)
			} else {
				held[key] = *value
			}
		}
	}
}

// flush applies the writes that came late.
func (g *fakeGroup) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, changes := range g.late {
		g.apply(changes)
	}
	g.late = nil
}

// tamper changes what one node holds.
func (g *fakeGroup) tamper(node int, f func(held map[string]string)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g.nodes[node])
}
