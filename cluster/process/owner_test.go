package process

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// TestForeign: the data directory of another cluster is seen before anything is
// started, or waited for, there; this one's own is, wherever its file goes.
func TestForeign(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		generate func(int, string) (*clusterfile.File, error)
		change   func(mine, other *clusterfile.File)
		foreign  bool
	}{
		"another file":          {clusterfile.Generate, func(_, _ *clusterfile.File) {}, true},
		"a file that has moved": {clusterfile.Generate, func(mine, other *clusterfile.File) { other.Nodes = mine.Nodes[:1] }, false},
		"another's name":        {clusterfile.GenerateGossip, func(mine, other *clusterfile.File) { other.Path, other.Nodes = mine.Path, mine.Nodes }, true},
		"the same name":         {clusterfile.GenerateGossip, func(mine, other *clusterfile.File) { other.ClusterName = mine.ClusterName }, false},
		"new addresses":         {clusterfile.Generate, func(mine, other *clusterfile.File) { other.Path = mine.Path }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := standInsOf(t, newFile(t, 2, c.generate), Options{}, nil)
			w.start()
			w.stop()
			f := newFile(t, 2, c.generate)
			f.Path, f.DataDir = "another.yaml", w.file.DataDir
			c.change(w.file, f)
			other := standInsOf(t, f, Options{ReadyTimeout: time.Minute}, nil)
			begun := time.Now()
			err := other.Start(ctx)
			if errors.Is(err, ErrForeign) != c.foreign {
				t.Fatalf("after %v: %v", time.Since(begun), err)
			}
			if !c.foreign {
				return
			}
			if len(other.take()) > 0 || !strings.Contains(err.Error(), filepath.Base(w.file.Path)) || !strings.Contains(err.Error(), "start --take-over'") {
				t.Error(err)
			}
			if err := w.Foreign(); err != nil {
				t.Error(err)
			}
			takeOver := standInsOf(t, f, Options{TakeOver: true}, nil)
			takeOver.start()
			takeOver.stop()
			if err := other.Foreign(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestForeignRemoved: what is gone is nobody's.
func TestForeignRemoved(t *testing.T) {
	w := standIns(t, 1, Options{}, nil)
	w.start()
	w.stop()
	f := newFile(t, 1, clusterfile.Generate)
	f.Path, f.DataDir = "another.yaml", w.file.DataDir
	other := New(f, Options{})
	if err := other.Foreign(); !errors.Is(err, ErrForeign) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(w.Dir("node1")); err != nil {
		t.Fatal(err)
	}
	if err := other.Foreign(); err != nil {
		t.Error(err)
	}
}

// TestOccupied: a node that answers where ours is to be started is told of before
// anything is started.
func TestOccupied(t *testing.T) {
	w := standIns(t, 2, Options{}, nil)
	other := httptest.NewUnstartedServer(behaviour{Leader: "n1", Members: []string{"n1"}}.handler("n1", t.TempDir()))
	l, err := net.Listen("tcp", w.file.Nodes[1].HTTPAddress)
	if err != nil {
		t.Fatal(err)
	}
	_ = other.Listener.Close()
	other.Listener = l
	other.Start()
	defer other.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	err = w.StartNodes(context.Background(), "node1", "node2")
	if err == nil || !strings.Contains(err.Error(), w.file.Nodes[1].HTTPAddress+` is answered by another node: id "n1"`) {
		t.Error(err)
	}
	if events := w.take(); len(events) > 0 {
		t.Error(events)
	}
}
