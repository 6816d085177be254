package inmem_test

import (
	"testing"

	"github.com/themilchenko/raftlab/backends/inmem"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/core/coretest"
)

func TestLogStore(t *testing.T) {
	coretest.TestLogStore(t, func(*testing.T, string) core.LogStore { return inmem.New() })
}
