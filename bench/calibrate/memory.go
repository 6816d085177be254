package calibrate

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
)

// Free returns how many bytes of memory are available to this process and its children, on
// the machine and within the limits of the control groups (a container's, a service's), and
// how many of the disk that holds the existing folder dir.
func Free(dir string) (memory, space uint64, err error) {
	m, err := mem.VirtualMemory()
	if err != nil {
		return 0, 0, fmt.Errorf("free memory: %w", err)
	}
	d, err := disk.Usage(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return min(m.Available, leftByGroups(os.DirFS("/"))), d.Free, nil
}

// memoryFiles are what a control group tells of its memory, by the version of the interface
// (Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of the kernel). Beyond
// memory.high nothing is killed, but all is held up.
type memoryFiles struct {
	limits []string
	usage  string
	cache  []string // keys of memory.stat: what the usage has of pages that files could be read from again
}

func memoryFilesOf(version2 bool) memoryFiles {
	if version2 {
		return memoryFiles{[]string{"memory.max", "memory.high"}, "memory.current", []string{"active_file", "inactive_file"}}
	}
	return memoryFiles{[]string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", []string{"total_active_file", "total_inactive_file"}}
}

// leftByGroups returns how much memory the control groups of this process leave: that in
// which it is and all above it, as far up as they are visible. root is the root of the file
// system. Where there are no groups, or no limit that can be read, it is all there is.
func leftByGroups(root fs.FS) uint64 {
	left := uint64(math.MaxUint64)
	paths := groupPaths(root)
	for _, m := range groupMounts(root) {
		group, in := paths[m.version2]
		if !in {
			continue
		}
		files := memoryFilesOf(m.version2)
		// A group that is not below what is mounted here is in another namespace: the mount
		// itself stands for it.
		below, is := strings.CutPrefix(path.Clean(group)+"/", strings.TrimSuffix(m.root, "/")+"/")
		if !is {
			below = ""
		}
		for dir := path.Join(m.point, below); ; dir = path.Dir(dir) {
			left = min(left, files.left(root, dir))
			if dir == m.point || dir == "." {
				break
			}
		}
	}
	return left
}

// left is what one group leaves.
func (f memoryFiles) left(root fs.FS, dir string) uint64 {
	used, known := number(root, path.Join(dir, f.usage))
	if !known {
		return math.MaxUint64
	}
	stat, _ := fs.ReadFile(root, path.Join(dir, "memory.stat")) // without it, nothing is taken for cache
	for line := range strings.Lines(string(stat)) {
		for _, key := range f.cache {
			if value, is := strings.CutPrefix(line, key+" "); is {
				cached, _ := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
				used -= min(used, cached)
			}
		}
	}
	left := uint64(math.MaxUint64)
	for _, name := range f.limits {
		if limit, known := number(root, path.Join(dir, name)); known { // not "max"
			left = min(left, limit-min(limit, used))
		}
	}
	return left
}

func number(root fs.FS, name string) (uint64, bool) {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return n, err == nil
}

// groupPaths returns the group of this process, by whether it is one of version 2
// (cgroups(7), /proc/pid/cgroup).
func groupPaths(root fs.FS) map[bool]string {
	out := map[bool]string{}
	data, _ := fs.ReadFile(root, "proc/self/cgroup") // another system has none
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0" && fields[1] == "":
			out[true] = fields[2]
		case has(fields[1], "memory"):
			out[false] = fields[2]
		}
	}
	return out
}

// groupMount is where groups are mounted: root is the group that is seen at point.
type groupMount struct {
	version2    bool
	root, point string // the point as a name in an fs.FS
}

// groupMounts returns where groups with memory may be looked at (proc_pid_mountinfo(5)).
func groupMounts(root fs.FS) (out []groupMount) {
	data, _ := fs.ReadFile(root, "proc/self/mountinfo")
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(kind) < 3 {
			continue
		}
		if version2 := kind[0] == "cgroup2"; version2 || kind[0] == "cgroup" && has(kind[2], "memory") {
			out = append(out, groupMount{version2, mount[3], strings.TrimPrefix(mount[4], "/")})
		}
	}
	return out
}

// has reports whether a list with commas has a word.
func has(list, word string) bool { return strings.Contains(","+list+",", ","+word+",") }
