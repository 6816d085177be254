package core

import (
	"regexp"
	"runtime/debug"
	"testing"
)

func TestProgram(t *testing.T) {
	settings := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: modified}}
	}
	replaced := &debug.Module{Path: modulePath, Version: "v0.0.0", Replace: &debug.Module{Path: "../"}}
	for _, c := range []struct {
		info            *debug.BuildInfo
		stamped         string
		version, commit string
		pinned          bool
	}{
		{nil, "", unknown, unknown, false},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath}}, "", unknown, unknown, false},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v1.0.0"}}, "", "v1.0.0", unknown, true},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v1.0.0"}, Settings: settings("false")}, "", "v1.0.0", "abc", true},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v0.0.0-x+dirty"}, Settings: settings("true")}, "def", "v0.0.0-x+dirty", "abc-dirty", false},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}}, "", "(devel)", unknown, false},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}}, "def", "(devel)", "def", true},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}}, "def-dirty", "(devel)", "def-dirty", false},
		{&debug.BuildInfo{Main: debug.Module{Path: "other"}, Deps: []*debug.Module{{Path: modulePath, Version: "v1.2.0"}}, Settings: settings("true")}, "", "v1.2.0", unknown, true},
		{&debug.BuildInfo{Main: debug.Module{Path: "other"}, Deps: []*debug.Module{replaced}, Settings: settings("true")}, "", "(devel)", unknown, false},
	} {
		version, commit := program(c.info, c.info != nil, c.stamped)
		if version != c.version || commit != c.commit || pinned(version, commit) != c.pinned {
			t.Errorf("%+v: %s, %s, pinned: %t", c.info, version, commit, pinned(version, commit))
		}
	}
}

// TestIdentify: a test is of no version and no commit, and is told from others by its hash.
func TestIdentify(t *testing.T) {
	if version, _ := Identify(); !regexp.MustCompile(`sha256:[0-9a-f]{12}$`).MatchString(version) {
		t.Error(version)
	}
}
