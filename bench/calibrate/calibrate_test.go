package calibrate

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shirou/gopsutil/v4/disk"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/bench/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// checkOrder checks all that can be said of a measurement without asserting a
// timing.
func checkOrder(t *testing.T, name string, q record.Quantiles, atMost int) {
	t.Helper()
	if q.N < 1 || q.N > atMost {
		t.Errorf("%s: %d samples, want 1 to %d", name, q.N, atMost)
	}
	if !slices.IsSorted([]float64{0, q.Min, q.P50, q.P90, q.P99, q.Max}) || q.Max <= 0 {
		t.Errorf("%s: not in order: %+v", name, q)
	}
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestQuantilesNearestRank(t *testing.T) {
	var samples []time.Duration
	for us := 10; us >= 1; us-- {
		samples = append(samples, time.Duration(us)*time.Microsecond)
	}
	want := record.Quantiles{N: 10, Min: 1, P50: 5, P90: 9, P99: 10, Max: 10}
	if diff := cmp.Diff(want, quantiles(samples)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(record.Quantiles{N: 1, Min: 1.5, P50: 1.5, P90: 1.5, P99: 1.5, Max: 1.5}, quantiles([]time.Duration{1500})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(record.Quantiles{}, quantiles(nil)); diff != "" {
		t.Error(diff)
	}
}

// TestQuantilesByCounting checks against the definition: the smallest sample
// that at least p percent of all do not exceed.
func TestQuantilesByCounting(t *testing.T) {
	naive := func(samples []time.Duration, percent int) float64 {
		best := math.Inf(1)
		for _, candidate := range samples {
			below := 0
			for _, s := range samples {
				if s <= candidate {
					below++
				}
			}
			if below*100 >= percent*len(samples) {
				best = min(best, float64(candidate)/1000)
			}
		}
		return best
	}
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.SliceOfN(rapid.Int64Range(0, 500), 1, 300).Draw(t, "samples")
		samples := make([]time.Duration, len(ns))
		for i, n := range ns {
			samples[i] = time.Duration(n)
		}
		want := record.Quantiles{
			N: len(samples), Min: float64(slices.Min(samples)) / 1000, P50: naive(samples, 50),
			P90: naive(samples, 90), P99: naive(samples, 99), Max: float64(slices.Max(samples)) / 1000,
		}
		if diff := cmp.Diff(want, quantiles(samples)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	fsync, fdatasync, err := Disk(t.Context(), dir, DiskOptions{Rounds: 25, Limit: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, "fsync", fsync, 25)
	checkOrder(t, "fdatasync", fdatasync, 25)
	if fsync.N != 25 || fdatasync.N != 25 {
		t.Errorf("%d and %d samples, want 25 of each", fsync.N, fdatasync.N)
	}
	checkEmpty(t, dir)
}

// TestDiskLimit: out of time at once, there is still one sample of each kind.
func TestDiskLimit(t *testing.T) {
	fsync, fdatasync, err := Disk(t.Context(), t.TempDir(), DiskOptions{Limit: 1})
	if err != nil || fsync.N != 1 || fdatasync.N != 1 {
		t.Errorf("%d and %d samples, %v", fsync.N, fdatasync.N, err)
	}
}

// TestAppendsInTurns watches the file that the measurement writes.
func TestAppendsInTurns(t *testing.T) {
	dir := t.TempDir()
	var turns []byte
	var size int64
	kind := func(name byte) func(*os.File) error {
		return func(f *os.File) error {
			info, err := f.Stat()
			if err != nil {
				return err
			}
			if grown := info.Size() - size; grown != 4096 && size != 0 {
				t.Errorf("file grew by %d B between flushes", grown)
			}
			size = info.Size()
			turns = append(turns, name)
			return nil
		}
	}
	samples, err := timeAppends(t.Context(), dir, DiskOptions{Rounds: 12, Limit: time.Minute}, kind('s'), kind('d'))
	if err != nil {
		t.Fatal(err)
	}
	if want := "ssssssssssddddddddddssdd"; string(turns) != want || len(samples[0]) != 12 || len(samples[1]) != 12 {
		t.Errorf("turns %s, want %s", turns, want)
	}
	checkEmpty(t, dir)
}

func TestFailedFlushLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	if _, err := timeAppends(t.Context(), dir, DiskOptions{Rounds: 1}, func(*os.File) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	checkEmpty(t, dir)
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	if probe, err := Probe(t.Context(), dir); err != nil || probe.Flushes != nil || probe.Commits != nil {
		t.Errorf("of no writers: %+v, %v", probe, err)
	}
	probe, err := Probe(t.Context(), dir, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, "probe", probe.FdatasyncUS, 30)
	if len(probe.Flushes) != 4 {
		t.Fatalf("%+v", probe.Flushes)
	}
	for i, want := range []record.Flushes{{Bytes: 512, Writers: 1}, {Bytes: 512, Writers: 3}, {Bytes: 4096, Writers: 1}, {Bytes: 4096, Writers: 3}} {
		f := probe.Flushes[i]
		checkOrder(t, "flush", f.EachUS, math.MaxInt)
		if f.Bytes != want.Bytes || f.Writers != want.Writers || f.EachHist == "" {
			t.Errorf("%+v, want %+v", f, want)
		}
	}
	for i, want := range []record.Commits{{Bytes: 512}, {Bytes: 512, Overlapped: true}, {Bytes: 4096}, {Bytes: 4096, Overlapped: true}} {
		if len(probe.Commits) != 4 {
			t.Fatalf("%+v", probe.Commits)
		}
		c := probe.Commits[i]
		if c.Bytes != want.Bytes || c.Overlapped != want.Overlapped || c.Members != 3 {
			t.Errorf("%+v, want %+v of 3", c, want)
		}
		for _, text := range []string{c.LeaderHist, c.FollowerHist, c.MessagesHist} {
			if h, err := record.DecodeHistogram(text); err != nil || h.TotalCount() == 0 || h.Min() == 0 {
				t.Errorf("%+v: %v", c, err)
			}
		}
	}
	checkEmpty(t, dir)
}

func TestMissingDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, _, err := Disk(t.Context(), dir, DiskOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Probe(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	env, err := Environment(dir)
	if !errors.Is(err, fs.ErrNotExist) || env.DataFileSystem != unknown || env.Cores == 0 {
		t.Errorf("%+v, %v", env, err)
	}
}

func TestCancelled(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := Disk(cancelled(), dir, DiskOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Disk: %v", err)
	}
	if _, err := Probe(cancelled(), dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Probe: %v", err)
	}
	if _, err := Flushes(cancelled(), dir, entryBytes, 1, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("Flushes: %v", err)
	}
	if _, err := Bandwidth(cancelled(), dir); !errors.Is(err, context.Canceled) {
		t.Errorf("Bandwidth: %v", err)
	}
	if q := Wake(cancelled()); q.N != 0 {
		t.Errorf("Wake: %+v", q)
	}
	if _, err := Loopback(cancelled(), smallMessage); !errors.Is(err, context.Canceled) {
		t.Errorf("Loopback: %v", err)
	}
	if _, err := All(cancelled(), dir, Writers()); !errors.Is(err, context.Canceled) {
		t.Errorf("All: %v", err)
	}
	if q := Timer(cancelled()); q.N != 0 {
		t.Errorf("Timer: %+v", q)
	}
	checkEmpty(t, dir)
}

// TestCancelledMeanwhile cancels while a flush is under way.
func TestCancelledMeanwhile(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	flushes := 0
	_, err := timeAppends(ctx, dir, DiskOptions{Rounds: 100, Limit: time.Minute}, func(*os.File) error {
		if flushes++; flushes == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || flushes != 3 {
		t.Errorf("%d flushes, %v", flushes, err)
	}
	checkEmpty(t, dir)
}

func TestLoopback(t *testing.T) {
	for _, bytes := range []int{smallMessage, largeMessage} {
		q, err := Loopback(t.Context(), bytes)
		if err != nil {
			t.Fatal(err)
		}
		checkOrder(t, "loopback", q, loopbackRounds)
	}
}

// TestFlushes: every number of writers is measured, both ways, and nothing stays.
func TestFlushes(t *testing.T) {
	dir := t.TempDir()
	flushes, err := Flushes(t.Context(), dir, appendBytes, 1, 3)
	if err != nil || len(flushes) != 2 {
		t.Fatalf("%+v, %v", flushes, err)
	}
	for i, writers := range []int{1, 3} {
		f := flushes[i]
		checkOrder(t, "flush", f.EachUS, math.MaxInt)
		if f.Writers != writers || f.Bytes != appendBytes || f.EachUS.N%writers != 0 || f.PerSecond <= 0 {
			t.Errorf("%+v, want of %d writers", f, writers)
		}
	}
	checkEmpty(t, dir)
}

// TestPreallocated: appending does not make the file longer, and goes round at its end.
func TestPreallocated(t *testing.T) {
	dir := t.TempDir()
	l, err := preallocate(dir, entryBytes)
	if err != nil {
		t.Fatal(err)
	}
	l.at = fileBytes - entryBytes
	for range 2 {
		if err := l.append(); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := l.Stat(); err != nil || info.Size() != fileBytes || l.at != entryBytes {
		t.Errorf("%d B, next at %d, %v", info.Size(), l.at, err)
	}
	if err := l.remove(); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, dir)
}

func TestRates(t *testing.T) {
	got := rates(record.Quantiles{N: 3, Min: 1, P50: 2, P90: 3, P99: 4, Max: 5}, 10)
	if !slices.IsSorted([]float64{got.Min, got.P50, got.P90, got.P99, got.Max}) || got.N != 3 || math.Round(got.Min) != 2e6 || got.P50 != 5e6 || got.Max != 10e6 {
		t.Errorf("%+v", got)
	}
}

// TestLoopbackCancelledMeanwhile cancels while an answer is awaited that will
// never come.
func TestLoopbackCancelledMeanwhile(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			_, err = io.ReadFull(conn, make([]byte, smallMessage))
		}
		if err != nil {
			t.Error(err)
		}
		cancel()
		accepted <- conn
	}()
	if _, err := roundTrips(ctx, listener.Addr().String(), smallMessage); err == nil {
		t.Error("no error")
	}
	(<-accepted).Close()
	listener.Close()
}

func TestTimer(t *testing.T) { checkOrder(t, "timer", Timer(t.Context()), timerRounds) }

func TestClockResolution(t *testing.T) {
	if ns := ClockResolution(); ns < 1 || ns != math.Trunc(ns) {
		t.Errorf("%v ns", ns)
	}
}

func TestAll(t *testing.T) {
	dir := t.TempDir()
	c, err := All(t.Context(), dir, Writers())
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, "fsync", c.FsyncUS, diskRounds)
	checkOrder(t, "fdatasync", c.FdatasyncUS, diskRounds)
	checkOrder(t, "loopback", c.LoopbackUS, loopbackRounds)
	checkOrder(t, "loopback of 64 KiB", c.Loopback64KUS, loopbackRounds)
	checkOrder(t, "bandwidth", c.WriteBytesPerS, math.MaxInt)
	checkOrder(t, "wake", c.WakeUS, wakeRounds)
	checkOrder(t, "timer", c.TimerUS, timerRounds)
	if len(c.Flushes) != 2*len(Writers()) {
		t.Errorf("flushes: %+v", c.Flushes)
	}
	if c.ClockResolution <= 0 {
		t.Errorf("clock: %v ns", c.ClockResolution)
	}
	checkEmpty(t, dir)
	t.Logf("%+v", c)
}

func TestEnvironment(t *testing.T) {
	env, err := Environment(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if env.Host == "" || env.OS == "" || env.Kernel == unknown || env.CPU == "" || env.MemoryBytes < 1<<20 ||
		env.DataFileSystem == unknown || env.DataDevice == unknown || env.Raftlab == "" || env.Commit == "" {
		t.Errorf("incomplete: %+v", env)
	}
	if env.Cores != runtime.NumCPU() || env.GOMAXPROCS != runtime.GOMAXPROCS(0) || env.Go != runtime.Version() || env.Arch != runtime.GOARCH {
		t.Errorf("%+v", env)
	}
	t.Logf("%+v", env)
}

// TestMemoryFileSystem needs a mount that Linux systems have.
func TestMemoryFileSystem(t *testing.T) {
	const shm = "/dev/shm"
	mounts, err := disk.Partitions(true)
	if err != nil || !slices.ContainsFunc(mounts, func(m disk.PartitionStat) bool { return m.Mountpoint == shm && m.Fstype == "tmpfs" }) {
		t.Skipf("no tmpfs at %s", shm)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(shm, link); err != nil {
		t.Fatal(err)
	}
	env, err := Environment(link)
	if err != nil || env.DataFileSystem != "tmpfs" || !env.DataMemory {
		t.Errorf("%+v, %v", env, err)
	}
}

func TestHolding(t *testing.T) {
	mounts := []disk.PartitionStat{
		{Mountpoint: "/data", Fstype: "below"},
		{Mountpoint: "/", Fstype: "root"},
		{Mountpoint: "/data", Fstype: "data"},
		{Mountpoint: "/data/deep/er", Fstype: "deep"},
	}
	for path, want := range map[string]string{
		"/": "root", "/data": "data", "/data/x": "data", "/database": "root", "/data/deep": "data",
		"/data/deep/er/x": "deep", "/data/..er": "data",
	} {
		if m, ok := holding(path, mounts); !ok || m.Fstype != want {
			t.Errorf("%s is on %s, want %s", path, m.Fstype, want)
		}
	}
	if m, ok := holding("/x", mounts[:1]); ok {
		t.Errorf("/x is on %+v", m)
	}
}

func TestWork(t *testing.T) { checkOrder(t, "work", Work(t.Context()), workRounds) }
