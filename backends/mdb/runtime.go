//go:build cgo

package mdb

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/themilchenko/raftlab/core"
)

const (
	debugVariable = "GODEBUG"
	noCgoCheck    = "cgocheck=0"

	// reexecMark stops a second restart where GODEBUG does not reach us.
	reexecMark = "RAFTLAB_MDB_REEXEC"
)

// EnsureRuntime restarts the program, in the same process, with
// GODEBUG=cgocheck=0 in its environment if it is not there yet. Call it first
// thing in every main and TestMain that may open an mdb store; it returns nil
// at once where nothing is to be done, and does not return where it restarts.
//
// Why: the gomdb binding passes C a Go struct that holds a Go pointer, which
// the check of cgo calls refuses by a panic. The check is an extra, not needed
// for the call to be sound: the collector does not move memory and the
// arguments live on the heap during the call. It can only be set in the
// environment at process start: //go:debug does not know it, and os.Setenv
// comes too late.
func EnsureRuntime() error {
	if checkDisabled() || os.Getenv(reexecMark) != "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("mdb: restart with %s: %w", noCgoCheck, err)
	}
	setting := noCgoCheck
	if old := os.Getenv(debugVariable); old != "" {
		setting = old + "," + noCgoCheck
	}
	env := append(os.Environ(), debugVariable+"="+setting, reexecMark+"=1")
	if err := syscall.Exec(self, os.Args, env); err != nil {
		return fmt.Errorf("mdb: restart %s with %s=%s: %w", self, debugVariable, noCgoCheck, err)
	}
	return nil
}

func checkRuntime() error {
	if checkDisabled() {
		return nil
	}
	return fmt.Errorf("mdb: %w: the Go runtime's check of cgo arguments refuses LMDB's binding; "+
		"start the program with %s=%s in its environment, or call mdb.EnsureRuntime first in main",
		core.ErrUnavailable, debugVariable, noCgoCheck)
}

// checkDisabled reads GODEBUG as the runtime does: the last setting wins.
func checkDisabled() bool {
	off := false
	for setting := range strings.SplitSeq(os.Getenv(debugVariable), ",") {
		if strings.HasPrefix(setting, "cgocheck=") {
			off = setting == noCgoCheck
		}
	}
	return off
}
