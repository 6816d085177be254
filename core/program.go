package core

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

const (
	modulePath = "github.com/themilchenko/raftlab"
	unknown    = "unknown"
	unreleased = "(devel)"
	dirty      = "-dirty"
)

// stamped is the commit that the program was built from, as in [Program]. The linker sets it
// (see the Makefile) where Go does not: in a worktree of git, or with -buildvcs=false.
var stamped string

// Program returns the version of raftlab in this program and the commit it was built
// from, with "-dirty" for a tree that had been changed, each "unknown" where it is. The
// commit is known only where raftlab is the program, not a part of another.
func Program() (version, commit string) {
	info, ok := debug.ReadBuildInfo()
	return program(info, ok, stamped)
}

// Identify is [Program], with a hash of the executable added to the version where neither
// says from what it was built, so that results of two programs can be told apart. Its
// time is that of reading the executable.
func Identify() (version, commit string) {
	version, commit = Program()
	if pinned(version, commit) {
		return version, commit
	}
	hash, err := hashOfExecutable()
	if err != nil {
		return version, commit // it may have been removed since
	}
	return version + " sha256:" + hash[:12], commit
}

// Version is what a program prints of [Identify] when it is asked for its version.
func Version() string {
	version, commit := Identify()
	if commit == unknown {
		return version
	}
	return version + " " + commit
}

func program(info *debug.BuildInfo, ok bool, stamped string) (version, commit string) {
	version, commit = unknown, unknown
	if stamped != "" {
		commit = stamped
	}
	if !ok {
		return version, commit
	}
	if info.Main.Path != modulePath {
		for _, dep := range info.Deps {
			if dep.Path == modulePath {
				version = dep.Version
				if dep.Replace != nil && dep.Replace.Version == "" { // by a folder
					version = unreleased
				}
			}
		}
		return version, commit
	}
	if info.Main.Version != "" {
		version = info.Main.Version
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		commit = revision
		if settings["vcs.modified"] == "true" {
			commit += dirty
		}
	}
	return version, commit
}

// pinned reports whether there is only one code of that version and commit.
func pinned(version, commit string) bool {
	if commit == unknown {
		return version != unknown && version != unreleased && !strings.Contains(version, "+dirty")
	}
	return !strings.HasSuffix(commit, dirty)
}

func hashOfExecutable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("hash of the executable: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash of the executable: %w", err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("hash of the executable: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
