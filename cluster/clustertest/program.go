package clustertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Program returns the path of a program of cmd, built of the sources as they are. It is
// in bin/test of the module, where the first test that asks builds it: to link it takes
// seconds, and the tests of ten packages start kvnode.
func Program(t testing.TB, name string) (path string) {
	t.Helper()
	_, file, _, _ := runtime.Caller(0) // a test may have changed its folder
	module := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	dir := filepath.Join(module, "bin", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, ".lock")) // packages are tested beside each other
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lock %s: %v", lock.Name(), err)
	}
	path = filepath.Join(dir, name)
	build := exec.Command("go", "build", "-o", path, "./cmd/"+name) // nothing where that is up to date
	build.Dir = module
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}
