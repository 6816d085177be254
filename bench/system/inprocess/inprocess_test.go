package inprocess_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/bench/system/inprocess"
	"github.com/themilchenko/raftlab/bench/system/systemtest"
	"github.com/themilchenko/raftlab/cluster"
)

func TestContract(t *testing.T) {
	defer goleak.VerifyNone(t)
	systemtest.Contract(t, inprocess.New(cluster.Builtin()))
}
