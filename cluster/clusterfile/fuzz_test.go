package clusterfile

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse sees that no text makes Parse panic, that every refusal says where,
// and that what parses comes back the same from both formats.
func FuzzParse(f *testing.F) {
	f.Add(false, thesis)
	f.Add(true, inTOML)
	f.Add(true, gossipTOML)
	f.Add(false, "cluster_name: no\ngossip_key: \"1\"\ncluster:\n"+gossiping("a", 1)+gossiping("true", 4))
	f.Add(false, "cluster: [{alias: a, http_address: 'h:1', rpc_address: 'h:2'}]")
	f.Add(false, "data_dir: ''\ncluster: [{alias: *a, http_address: &a 'x:1', <<: {a: !!str 1}}]\n---\n{}")
	f.Add(true, "leader = \"\"\"a\"\"\"\"\ncluster = [{alias = 'a', kvnode.raft.x = 1979-05-27}]\n[kvnode]\nx = [[1.0, nan], {a = 1}]")
	for _, text := range awkward {
		f.Add(true, minimalTOML+"[kvnode]\nx = "+quoteTOML(text))
		f.Add(false, minimalYAML+"kvnode: {x: "+quoteTOML(text)+"}")
	}
	f.Fuzz(func(t *testing.T, isTOML bool, text string) {
		path := "f.yaml"
		if isTOML {
			path = "f.toml"
		}
		file, err := Parse(path, []byte(text))
		if err != nil {
			var at *Error
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &at) || at.Line < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, path := range []string{path, "f.yaml", "f.toml"} {
			encoded, err := file.Encode(path)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			again, err := Parse(path, encoded)
			if err != nil {
				t.Fatalf("%v in\n%s", err, encoded)
			}
			again.Path = file.Path
			if diff := cmp.Diff(file, again); diff != "" {
				t.Fatalf("%s changed it: %s\n%s", path, diff, encoded)
			}
		}
	})
}
