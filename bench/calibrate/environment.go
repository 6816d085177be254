package calibrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"

	"github.com/themilchenko/raftlab/bench/record"
	"github.com/themilchenko/raftlab/core"
)

const unknown = "unknown"

// Environment describes the machine, the file system under the existing data
// directory dir, and this program. Cores is the number of logical CPUs that the
// process may use, by its affinity; GOMAXPROCS also heeds a CPU quota of a
// container. MemoryBytes is the memory of the machine, whatever a container may
// use of it. Modules is left to the caller, who knows what the cells use.
//
// What cannot be found out is "unknown" or 0, and the error, which may join
// several, says why: the rest is good also then.
func Environment(dir string) (record.Environment, error) {
	env := record.Environment{
		Host:           unknown,
		OS:             runtime.GOOS,
		Kernel:         unknown,
		Arch:           runtime.GOARCH,
		CPU:            unknown,
		Cores:          runtime.NumCPU(),
		GOMAXPROCS:     runtime.GOMAXPROCS(0),
		DataFileSystem: unknown,
		DataDevice:     unknown,
		Go:             runtime.Version(),
	}
	env.Raftlab, env.Commit = core.Identify()

	var errs []error
	note := func(what string, err error) bool {
		if err != nil {
			errs = append(errs, fmt.Errorf("environment: %s: %w", what, err))
		}
		return err == nil
	}
	if name, err := os.Hostname(); note("host name", err) {
		env.Host = name
	}
	if platform, _, version, err := host.PlatformInformation(); note("operating system", err) && platform != "" {
		env.OS = strings.TrimSpace(platform+" "+version) + " (" + runtime.GOOS + ")"
	}
	if kernel, err := host.KernelVersion(); note("kernel", err) {
		env.Kernel = kernel
	}
	if infos, err := cpu.Info(); note("CPU", err) && len(infos) > 0 && infos[0].ModelName != "" {
		env.CPU = infos[0].ModelName
	}
	if memory, err := mem.VirtualMemory(); note("memory", err) {
		env.MemoryBytes = memory.Total
	}
	if mount, err := mountOf(dir); note("file system", err) {
		env.DataFileSystem, env.DataDevice = mount.Fstype, mount.Device
		env.DataMemory = inMemory(mount.Fstype)
	}
	return env, errors.Join(errs...)
}

// inMemory reports that a file system type keeps files in memory only, where a
// flush costs nothing and promises nothing.
func inMemory(fstype string) bool {
	switch fstype {
	case "tmpfs", "ramfs", "devtmpfs":
		return true
	}
	return false
}

// mountOf returns the mount that holds dir, as this process sees it.
func mountOf(dir string) (disk.PartitionStat, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return disk.PartitionStat{}, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return disk.PartitionStat{}, err
	}
	// On Linux gopsutil would ask for the mounts of process 1, which may live
	// in another mount namespace.
	ctx := context.WithValue(context.Background(), common.EnvKey,
		common.EnvMap{common.HostProcMountinfo: "/proc/self/mountinfo"})
	mounts, err := disk.PartitionsWithContext(ctx, true)
	if err != nil {
		return disk.PartitionStat{}, err
	}
	mount, ok := holding(path, mounts)
	if !ok {
		return disk.PartitionStat{}, fmt.Errorf("no mount holds %s", path)
	}
	return mount, nil
}

// holding returns the mount with the longest mount point above path. Of several
// on one mount point the last covers the others.
func holding(path string, mounts []disk.PartitionStat) (found disk.PartitionStat, ok bool) {
	for _, m := range mounts {
		if isBelow(path, m.Mountpoint) && len(m.Mountpoint) >= len(found.Mountpoint) {
			found, ok = m, true
		}
	}
	return found, ok
}

// isBelow compares whole names: /database is not below /data.
func isBelow(path, mountpoint string) bool {
	rel, err := filepath.Rel(mountpoint, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
