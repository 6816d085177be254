package process

import (
	"slices"
	"testing"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
)

// TestStoreOptions: folders are opened with the options that the cluster file has for their
// nodes, since a store may need them.
func TestStoreOptions(t *testing.T) {
	c := &Cluster{file: &clusterfile.File{Kvnode: map[string]any{"backend-options": map[string]any{"map_size": "2GiB"}}}}
	plain, own := clusterfile.Node{Alias: "n1"}, clusterfile.Node{Alias: "n2"}
	own.Kvnode = map[string]any{"backend-options": map[string]any{"no_meta_sync": true}}
	got := c.storeOptions([]clusterfile.Node{plain, own})
	if want := []string{"--backend-option", "map_size=2GiB", "--backend-option", "no_meta_sync=true"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := (&Cluster{file: &clusterfile.File{}}).storeOptions([]clusterfile.Node{plain}); got != nil {
		t.Errorf("got %q, want none", got)
	}
}
