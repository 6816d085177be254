// Package raftlab holds only this test: it keeps the layout of the repository as
// docs/ARCHITECTURE.md draws it.
package raftlab

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/themilchenko/raftlab"

// rule says what of ours the packages at or below a path may import. Longest
// path wins.
type rule struct {
	path    string
	allowed []string // paths below the module, with everything below them
}

// rules is the table of docs/ARCHITECTURE.md, "Who may import whom".
var rules = []rule{
	{"internal/conf", []string{"core/size"}},
	{"core", []string{"core/errkind", "core/size"}},
	{"core/errkind", nil},
	{"core/size", []string{"core/errkind"}},
	{"core/coretest", []string{"core", "backends/faulty"}}, // engines are tested on stores that fail
	{"core/handshake", []string{"core"}},
	{"core/trace", []string{"core"}},
	{"backends", []string{"core", "backends"}}, // the catalogue
	{"backends/inmem", []string{"core"}},
	{"backends/bolt", []string{"core", "backends/storedir"}},
	{"backends/mdb", []string{"core", "backends/storedir"}},
	{"backends/pebble", []string{"core", "backends/storedir"}},
	{"backends/wal", []string{"core", "backends/storedir", "internal/atomicfile", "internal/lockfile"}},
	{"backends/faulty", []string{"core"}},
	{"backends/checked", []string{"core"}},
	{"backends/storedir", []string{"core"}},
	{"transports", []string{"core", "transports"}}, // the catalogue
	{"transports/inmem", []string{"core"}},
	{"transports/tcp", []string{"core"}},
	{"engines", []string{"core", "engines", "internal/conf"}}, // the catalogue
	{"engines/etcd", []string{"core", "engines/internal", "internal/sharing"}},
	{"engines/enginetest", []string{"engines/program", "kv/api", "kv/client", "cluster/clustertest", "bench/check", "bench/fault", "internal/poll"}}, // a suite
	{"engines/program", []string{"kv/client", "internal"}},
	{"engines/hashicorp", []string{"core", "engines/internal", "internal/sharing"}},
	{"engines/internal/failstop", []string{"core"}},
	{"engines/internal/identity", []string{"core"}},
	{"engines/internal/offline", []string{"core", "engines/internal"}},
	{"engines/internal/snapshots", []string{"core", "internal/atomicfile", "internal/ctxio"}},
	{"engines/internal/links", []string{"core", "engines/internal/identity"}},
	{"engines/programs/flushes", nil},
	{"kv", []string{"core"}},
	{"kv/api", nil},
	{"kv/backup", []string{"core", "kv", "internal/ctxio"}},
	{"kv/client", []string{"core/errkind", "kv/api", "internal/hostport", "internal/poll"}}, // links no Raft
	{"kv/httpapi", []string{"core", "kv", "discovery", "internal/hostport", "internal/sharing"}},
	{"kv/respapi", []string{"core", "kv"}},
	{"kv/node", []string{"core", "discovery", "kv", "internal/atomicfile", "internal/ctxio", "internal/lockfile", "internal/poll"}},
	{"kv/kvnode", []string{"core", "backends", "transports", "engines", "discovery", "kv", "cluster", "internal/atomicfile", "internal/conf", "internal/ctxio", "internal/hostport", "internal/prompt"}}, // the program
	{"discovery", []string{"core", "discovery", "internal/atomicfile", "internal/hostport"}},
	{"cluster", []string{"core", "backends", "transports", "engines", "kv"}},
	{"cluster/clusterfile", []string{"internal"}},
	{"cluster/process", []string{"core", "discovery", "kv/api", "kv/client", "cluster/clusterfile", "internal"}},
	{"bench/experiment", []string{"core", "bench/workload", "internal/conf"}},
	{"bench/record", []string{"bench/experiment", "internal"}},
	{"bench/stats", nil},
	{"bench/report", []string{"bench/record", "bench/experiment", "bench/stats", "bench/measure", "bench/report/doc"}},
	{"bench/report/doc", []string{"internal/visible"}},
	{"bench/workload", []string{"core/size", "internal/poll"}},
	{"bench/trace", []string{"core"}},
	{"bench/calibrate", []string{"bench/record", "core"}},
	{"bench/audit", []string{"core", "kv/api", "kv/client", "bench/workload"}},
	{"bench/check", []string{"bench/workload", "kv/client"}},
	{"bench/fault", nil},
	{"bench/hunt", []string{"core", "kv/api", "kv/client", "bench/check", "bench/fault", "bench/workload", "internal"}},
	{"bench/system", []string{"core/trace", "kv", "bench/experiment", "bench/record", "bench/workload"}},
	{"bench/system/inprocess", []string{"core", "backends", "transports", "engines", "kv", "cluster",
		"bench/experiment", "bench/record", "bench/system", "bench/workload"}},
	{"bench/system/clients", []string{"core", "kv", "cluster/clusterfile", "bench/experiment", "bench/record", "bench/system", "bench/workload"}},
	{"bench/system/kvnode", []string{"core", "kv", "cluster", "internal/conf", "bench/experiment", "bench/record", "bench/system", "bench/workload"}},
	{"bench/system/program", []string{"core", "kv", "cluster/clusterfile", "engines", "internal", "bench/experiment", "bench/record", "bench/system", "bench/workload"}},
	{"bench/system/systemtest", []string{"kv", "bench/experiment", "bench/record", "bench/system", "bench/workload", "internal/poll"}},
	{"bench/measure", []string{"bench/experiment", "bench/record", "bench/system"}},
	{"bench/model", []string{"bench/record"}},
	{"bench/measure/load", []string{"core", "kv", "bench/model", "bench/stats", "bench/experiment", "bench/record", "bench/system", "bench/measure", "bench/workload", "internal/poll"}},
	{"bench/measure/anatomy", []string{"core", "kv", "bench/experiment", "bench/record", "bench/system", "bench/measure", "bench/trace", "bench/workload"}},
	{"bench/measure/peak", []string{"bench/experiment", "bench/record", "bench/system", "bench/measure", "bench/workload"}},
	{"bench/measure/recovery", []string{"kv", "bench/experiment", "bench/record", "bench/system", "bench/measure", "bench/workload", "internal/poll"}},
	{"bench/measure/formation", []string{"bench/experiment", "bench/record", "bench/system", "bench/measure", "internal/poll"}},
	{"bench/measure/failover", []string{"core/errkind", "bench/experiment", "bench/record", "bench/system", "bench/measure", "bench/workload", "internal/poll"}},
	{"bench/runner", []string{"cluster",
		"bench/experiment", "bench/record", "bench/calibrate", "bench/measure", "bench/system", "bench/until", "internal/poll"}},
	{"bench/until", []string{"bench/experiment", "bench/record", "bench/measure", "bench/stats"}},
	{"bench/verify", []string{"bench/experiment", "bench/record", "bench/measure", "bench/report", "bench/until"}},
	{"bench/raftlab", []string{"core", "backends", "cluster", "bench", "internal"}}, // the program
	{"cmd", []string{"core", "backends", "transports", "engines", "discovery", "kv", "cluster", "bench", "internal"}},
	{"internal/atomicfile", nil},
	{"internal/child", []string{"internal/poll"}},
	{"internal/cli", []string{"internal/visible"}},
	{"internal/ctxio", nil},
	{"internal/hostport", nil},
	{"internal/lockfile", nil},
	{"internal/poll", nil},
	{"internal/prompt", nil},
	{"internal/sharing", nil},
	{"internal/visible", nil},
	{"experiments", nil}, // tests only
	{"docs", nil},        // tests only
}

// coreMay lists what core may import besides the standard library.
var coreMay = []string{"github.com/hashicorp/raft"}

type goPackage struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestForbiddenImports(t *testing.T) {
	seen := 0
	for _, p := range listPackages(t) {
		path, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue
		}
		seen++
		r, ok := ruleFor(path)
		if !ok {
			t.Errorf("%s: no rule in layout_test.go: add it there and to docs/ARCHITECTURE.md", path)
			continue
		}
		for _, imported := range p.Imports {
			checkImport(t, path, r, imported)
		}
	}
	if seen < 10 {
		t.Fatalf("go list found %d packages of ours: the test has lost its subject", seen)
	}
}

func checkImport(t *testing.T, path string, r rule, imported string) {
	t.Helper()
	target, ours := strings.CutPrefix(imported, module+"/")
	if ours {
		if strings.HasPrefix(target, "cmd/") {
			t.Errorf("%s imports %s: nobody imports cmd", path, target)
		}
		if !below(target, r.allowed) {
			t.Errorf("%s imports %s; it may import %v of ours", path, target, r.allowed)
		}
		return
	}
	external := strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
	if path == "core" && external && !below(imported, coreMay) {
		t.Errorf("core imports %s; it may import the standard library and %v", imported, coreMay)
	}
}

func ruleFor(path string) (rule, bool) {
	best, found := rule{}, false
	for _, r := range rules {
		if below(path, []string{r.path}) && (!found || len(r.path) > len(best.path)) {
			best, found = r, true
		}
	}
	return best, found
}

func below(path string, roots []string) bool {
	for _, root := range roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Standard", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// TestRulesCanFail sees that the check finds a wrong arrow.
func TestRulesCanFail(t *testing.T) {
	for path, imported := range map[string]string{
		"core":           "core/coretest",
		"backends/bolt":  "backends/mdb",
		"kv":             "engines/hashicorp",
		"bench/stats":    "bench/report",
		"bench/workload": "kv",
	} {
		r, ok := ruleFor(path)
		if !ok || below(imported, r.allowed) {
			t.Errorf("%s may import %s", path, imported)
		}
	}
}
