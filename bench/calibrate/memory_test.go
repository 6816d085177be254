package calibrate

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/fstest"
)

// TestMemoryOfGroups: the least that any control group leaves counts, whatever the version
// and wherever it is mounted.
func TestMemoryOfGroups(t *testing.T) {
	const (
		two     = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
		one     = "33 23 0:29 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n"
		oneCPU  = "34 23 0:30 / /sys/fs/cgroup/cpu rw shared:6 - cgroup cgroup rw,cpu\n"
		docker  = "33 23 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
		none    = math.MaxUint64
		endless = "9223372036854771712\n"
	)
	for name, c := range map[string]struct {
		cgroup, mounts string
		files          string // NAME=VALUE, below sys/fs/cgroup
		want           uint64
	}{
		"none":                  {"", "", "", none},
		"no limit":              {"0::/a.slice/b.service\n", two, "a.slice/b.service/memory.max=max\n a.slice/b.service/memory.current=5", none},
		"its own":               {"0::/a.slice/b.service\n", two, "a.slice/b.service/memory.max=100 a.slice/b.service/memory.current=30", 70},
		"that above":            {"0::/a.slice/b.service\n", two, "a.slice/memory.max=100 a.slice/memory.current=40 a.slice/b.service/memory.max=100 a.slice/b.service/memory.current=30", 60},
		"at the root, a pod":    {"0::/\n", two, "memory.max=100\n memory.current=99", 1},
		"held up before":        {"0::/x\n", two, "x/memory.max=100 x/memory.high=50 x/memory.current=30", 20},
		"more used than there":  {"0::/x\n", two, "x/memory.max=100 x/memory.current=130", 0},
		"files in memory":       {"0::/x\n", two, "x/memory.max=100 x/memory.current=90 x/memory.stat=anon:10|active_file:20|inactive_file:50", 80},
		"garbled":               {"0::/x\n??\n", two + "?\n", "x/memory.max=some x/memory.current=90", none},
		"version 1":             {"5:cpu:/y\n4:memory,x:/x/y\n0::/\n", oneCPU + one, "memory/x/memory.limit_in_bytes=100 memory/x/memory.usage_in_bytes=50 memory/x/memory.stat=total_inactive_file:10|inactive_file:1 memory/x/y/memory.limit_in_bytes=" + strings.TrimSpace(endless) + " memory/x/y/memory.usage_in_bytes=50", 60},
		"a container's mount":   {"4:memory:/docker/abc\n", docker, "memory/memory.limit_in_bytes=100 memory/memory.usage_in_bytes=10", 90},
		"of another namespace":  {"4:memory:/../../x\n", docker, "memory/memory.limit_in_bytes=100 memory/memory.usage_in_bytes=10", 90},
		"a name that begins so": {"4:memory:/docker/abcdef\n", docker, "memory/memory.limit_in_bytes=100 memory/memory.usage_in_bytes=10 memory/def/memory.limit_in_bytes=7 memory/def/memory.usage_in_bytes=1", 90},
	} {
		root := fstest.MapFS{"proc/self/cgroup": {Data: []byte(c.cgroup)}, "proc/self/mountinfo": {Data: []byte(c.mounts)}}
		for _, file := range strings.Fields(c.files) {
			name, value, _ := strings.Cut(file, "=")
			root["sys/fs/cgroup/"+name] = &fstest.MapFile{Data: []byte(strings.NewReplacer(":", " ", "|", "\n").Replace(value) + "\n")}
		}
		if got := leftByGroups(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if memory, disk, err := Free(t.TempDir()); err != nil || memory == 0 || disk == 0 {
		t.Error(fmt.Sprint(memory, disk, err))
	}
}
