package process

import (
	"io/fs"
	"path/filepath"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// progress is how far a node has got that is not ready yet. Entries in its log are
// left out: those that an election adds, over and over, lead nowhere, and all
// others it applies.
type progress struct {
	applied  uint64 // index
	snapshot uint64 // index
	received int64  // bytes of the snapshots in its folder, unfinished ones included
}

// tells notes what the node says of itself.
func (a *attempt) tells(me api.Node) {
	now := a.seen
	now.applied, now.snapshot = me.AppliedIndex, me.SnapshotIndex
	a.note(now)
}

// received notes what has arrived in its folder of snapshots. It does not serve
// HTTP yet while it loads one.
func (a *attempt) received(dir string) {
	now := a.seen
	now.received = size(dir)
	a.note(now)
}

func (a *attempt) note(now progress) {
	if now != a.seen {
		a.seen, a.moved = now, time.Now()
	}
}

// size returns the bytes of all files below dir, as far as they can be read.
func size(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // gone meanwhile, or never there
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
