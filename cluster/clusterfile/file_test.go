package clusterfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSaveAndRead(t *testing.T) {
	for name, generate := range map[string]func(int, string) (*File, error){"leader": Generate, "gossip": GenerateGossip} {
		t.Run(name, func(t *testing.T) {
			f, err := generate(3, "localhost")
			if err != nil {
				t.Fatal(err)
			}
			saveAndRead(t, f)
		})
	}
}

func saveAndRead(t *testing.T, want *File) {
	want.Kvnode = map[string]any{
		"backend": "bolt", "yes": "no", "": true, "list": []any{int64(1), 1.0, 1e300, "x", []any{}, map[string]any{"a b": -1.5}},
		"raft": map[string]any{"heartbeat_timeout": "1s", "deep": map[string]any{"er": int64(math.MinInt64), "empty": map[string]any{}}},
	}
	want.Nodes[1].Kvnode = map[string]any{"log-level": "debug"}
	for _, name := range []string{"c.yaml", "c.yml", "c.toml"} {
		path := filepath.Join(t.TempDir(), name)
		for range 2 { // the second time over the first
			if err := want.Save(path); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		want.Path = path
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		left, err := os.ReadDir(filepath.Dir(path))
		if err != nil || len(left) != 1 {
			t.Errorf("%s: %v, %v", name, left, err)
		}
	}
}

// TestYAMLForm: what is written looks like what people write.
func TestYAMLForm(t *testing.T) {
	f, err := Parse("c.yaml", []byte(thesis))
	if err != nil {
		t.Fatal(err)
	}
	f.Nodes = f.Nodes[:1]
	f.Nodes[0].Kvnode = map[string]any{"log-level": "debug"}
	f.Kvnode = map[string]any{"raft": map[string]any{"max_in_flight": int64(2), "heartbeat_timeout": "500ms"}, "join2": []any{"a", "1"}}
	want := `data_dir: var
bin_path: bin
leader: node1
cluster:
- alias: node1
  http_address: "127.0.0.1:8080"
  rpc_address: "127.0.0.1:9000"
  kvnode:
    log-level: debug
kvnode:
  join2:
  - a
  - "1"
  raft:
    heartbeat_timeout: "500ms"
    max_in_flight: 2
`
	got, err := f.Encode("c.yml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAwkwardStrings(t *testing.T) {
	f, err := Parse("c.yaml", []byte(minimalYAML))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range awkward {
		f.Kvnode = map[string]any{"x": text, "below": map[string]any{text: []any{text}}}
		for _, path := range []string{"c.yaml", "c.toml"} {
			encoded, err := f.Encode(path)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			got, err := Parse(path, encoded)
			if err != nil {
				t.Errorf("%q: %v\n%s", text, err, encoded)
			} else if diff := cmp.Diff(f.Kvnode, got.Kvnode); diff != "" {
				t.Errorf("%q: %s\n%s", text, diff, encoded)
			}
		}
	}
}

// TestEncodeRefuses what it could not read back.
func TestEncodeRefuses(t *testing.T) {
	good, err := Parse("c.yaml", []byte(thesis))
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*File){
		"leader":  func(f *File) { f.Leader = "nobody" },
		"nodes":   func(f *File) { f.Nodes = nil },
		"path":    func(f *File) { f.DataDir = "" },
		"setting": func(f *File) { f.Kvnode = map[string]any{"x": time.Second} },
		"nothing": func(f *File) { f.Kvnode = map[string]any{"x": nil} },
		"nan":     func(f *File) { f.Kvnode = map[string]any{"x": math.NaN()} },
		"text":    func(f *File) { f.Kvnode = map[string]any{"x": "\xff"} },
	} {
		for _, ext := range []string{".yaml", ".toml"} {
			f := *good
			spoil(&f)
			path := filepath.Join(t.TempDir(), "c"+ext)
			if err := f.Save(path); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s%s: %v", name, ext, err)
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s%s: written: %v", name, ext, err)
			}
		}
	}
	if err := good.Save(filepath.Join(t.TempDir(), "missing", "c.yaml")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "c.yaml")); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestGenerate(t *testing.T) {
	f, err := Generate(maxNodes, "127.0.0.1")
	if err != nil {
		t.Fatal(err) // a port that came twice would be an error
	}
	if len(f.Nodes) != maxNodes || f.Leader != "node1" || f.Nodes[99].Alias != "node100" {
		t.Errorf("%+v", f)
	}
	for _, path := range []string{"c.yaml", "c.toml"} {
		if _, err := f.Encode(path); err != nil {
			t.Error(err)
		}
	}
	g, err := GenerateGossip(maxNodes, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := GenerateGossip(1, "127.0.0.1")
	if err != nil || !g.Gossips() || g.Leader != "" || g.ClusterName == again.ClusterName {
		t.Errorf("%v: %+v, then %+v", err, g, again)
	}
	if f, err := Generate(1, "::1"); err == nil && !strings.HasPrefix(f.Nodes[0].HTTPAddress, "[::1]:") {
		t.Errorf("%+v", f)
	}
	for n, host := range map[int]string{0: "localhost", -1: "localhost", 101: "localhost", 2: "0.0.0.0"} {
		for _, generate := range []func(int, string) (*File, error){Generate, GenerateGossip} {
			if f, err := generate(n, host); !errors.Is(err, ErrInvalid) {
				t.Errorf("%d on %q: %+v, %v", n, host, f, err)
			}
		}
	}
	if _, err := Generate(1, "host.invalid"); err == nil || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestResolve: a file means the same from every folder.
func TestResolve(t *testing.T) {
	for _, c := range []struct{ file, path, want string }{
		{"", "var", "var"},
		{"config.yaml", "var", "var"},
		{"config/config.yml", "var", "config/var"},
		{"config/config.yml", "../var", "var"},
		{"/etc/lab.toml", "bin", "/etc/bin"},
		{"../config.yaml", "/opt/bin", "/opt/bin"},
	} {
		f := File{Path: c.file}
		if got := f.Resolve(c.path); got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.path, c.file, got, c.want)
		}
	}
}

// TestPortsOfOthers: a port of a node is not given to another, whether or not it runs.
func TestPortsOfOthers(t *testing.T) {
	f := &File{Nodes: []Node{{GossipAddress: "elsewhere:1"}}}
	for port := firstPort; port <= lastPort; port += 2 {
		f.Nodes = append(f.Nodes, Node{RPCAddress: fmt.Sprint("elsewhere:", port)})
	}
	fresh, err := f.NewNode("n", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	mine := []string{fresh.HTTPAddress, fresh.RPCAddress, fresh.GossipAddress}
	for range 10 {
		free := f.freePorts("127.0.0.1")
		mine = append(mine, free.tcp())
		if err := free.close(); err != nil {
			t.Fatal(err)
		}
	}
	taken := f.freePorts("127.0.0.1").taken
	for _, address := range mine {
		if _, port, err := net.SplitHostPort(address); err != nil || taken[port] {
			t.Errorf("%q is given: %v", address, err)
		}
	}
}
