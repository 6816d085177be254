package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/themilchenko/raftlab/core"
)

// wayBack adds to the error of a node that cannot go on with its disk how it gets
// back into its group.
func wayBack(err error, s settings) error {
	switch data := filepath.Clean(s.data); {
	case errors.Is(err, core.ErrDamaged):
		again := "with the same flags and --join HOST:PORT, the HTTP address of another member"
		if s.gossip != nil {
			again = "with the same flags"
		}
		return fmt.Errorf("%w\nNothing of this log is served any more. If the other members are well, begin anew with what they hold:"+
			"\n  mv %s %s.damaged\nand start this node again %s: the group takes its vote away, and gives it anew once it has caught up",
			err, data, data, again)
	case errors.Is(err, core.ErrStalled):
		return fmt.Errorf("%w\nThe disk of %s does not answer; what was acknowledged is on it. See what is wrong with it:"+
			"\n  df %s; dmesg | tail\nand start this node again with the same flags", err, data, data)
	}
	return err
}
