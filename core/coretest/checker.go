package coretest

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// checker is what a property reports to: the subtest's testing.T, but one that
// takes reports which come too late. A property that hung may go on once its
// subject is closed, and testing panics on a report after the end of a test.
type checker struct {
	*testing.T

	// patience is how long to wait for one thing to happen. It is below the
	// deadline of the property, so that the failure names what was waited for.
	patience time.Duration

	mu   sync.RWMutex
	over bool
}

func newChecker(t *testing.T, patience time.Duration) *checker {
	c := &checker{T: t, patience: patience}
	t.Cleanup(func() { // the first one registered runs last
		c.mu.Lock()
		defer c.mu.Unlock()
		c.over = true
	})
	return c
}

// inTime calls do and returns true, or returns false if the test is over.
func (c *checker) inTime(do func()) bool {
	c.Helper()
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.over {
		do()
	}
	return !c.over
}

// The methods below are those of testing.TB that properties call. After the end
// of the test a report is dropped, and what a property cannot go on without ends
// its goroutine.

func (c *checker) Errorf(format string, args ...any) {
	c.Helper()
	c.inTime(func() { c.Helper(); c.T.Errorf(format, args...) })
}

func (c *checker) Error(args ...any) {
	c.Helper()
	c.Errorf("%s", fmt.Sprint(args...))
}

func (c *checker) Logf(format string, args ...any) {
	c.Helper()
	c.inTime(func() { c.Helper(); c.T.Logf(format, args...) })
}

func (c *checker) Fatalf(format string, args ...any) {
	c.Helper()
	c.Errorf(format, args...)
	c.FailNow()
}

func (c *checker) Fatal(args ...any) {
	c.Helper()
	c.Fatalf("%s", fmt.Sprint(args...))
}

func (c *checker) FailNow() {
	c.inTime(c.Fail)
	runtime.Goexit() // of the property's goroutine, which is not the test's
}

func (c *checker) TempDir() (dir string) {
	if !c.inTime(func() { dir = c.T.TempDir() }) {
		runtime.Goexit()
	}
	return dir
}

func (c *checker) Cleanup(f func()) {
	if !c.inTime(func() { c.T.Cleanup(f) }) {
		runtime.Goexit()
	}
}
