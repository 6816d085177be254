package kvnode_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/bench/system/kvnode"
	"github.com/themilchenko/raftlab/bench/system/systemtest"
	"github.com/themilchenko/raftlab/cluster"
)

func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	path := filepath.Join(t.TempDir(), "kvnode")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../../cmd/kvnode").CombinedOutput(); err != nil {
		t.Fatalf("build kvnode: %v\n%s", err, out)
	}
	systemtest.Contract(t, kvnode.New(path, cluster.Builtin()))
}
