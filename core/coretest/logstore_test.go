package coretest

import (
	"testing"

	"github.com/themilchenko/raftlab/core"
)

func TestLogStoreOfDisk(t *testing.T) {
	TestLogStore(t, opener(core.DurableDisk, correct))
}

func TestLogStoreOfMemory(t *testing.T) {
	TestLogStore(t, opener(core.DurableNothing, correct))
}
