package kvnode_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/bench/system/kvnode"
	"github.com/themilchenko/raftlab/bench/system/systemtest"
	"github.com/themilchenko/raftlab/cluster"
	"github.com/themilchenko/raftlab/cluster/clustertest"
)

func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	systemtest.Contract(t, kvnode.New(clustertest.Program(t, "kvnode"), cluster.Builtin()))
}
