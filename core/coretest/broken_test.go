package coretest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/themilchenko/raftlab/core"
)

// brokenEnv makes TestBroken run what must fail.
const brokenEnv = "CORETEST_RUN_BROKEN"

// brokenDeadline is short: a property that does not get done in it fails, as it
// is to do anyway.
const brokenDeadline = 1500 * time.Millisecond

// brokenEngineDeadline leaves time for elections.
const brokenEngineDeadline = 9 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(brokenEnv) != "" {
		os.Exit(m.Run()) // what is broken leaks
	}
	goleak.VerifyTestMain(m)
}

// only restricts a suite to one property.
func only(property string) Option {
	return func(cfg *config) { cfg.only = property }
}

// broken is a subject with one defect, and the property that must find it.
type broken struct {
	property string
	defect   string // a name for the subtest
	run      func(t *testing.T, opts ...Option)
}

// suite is a conformance suite with a correct subject and broken ones.
type suite struct {
	name    string
	correct func(t *testing.T, opts ...Option) // nil: it is run elsewhere
	broken  []broken
}

func suites() []suite {
	return []suite{
		{"LogStore", correctStore, brokenStores()},
		{"Transport", correctTransport, brokenTransports()},
		{"Wire", correctWire, brokenWires()},
		{"Network", correctNetwork, brokenNetworks()},
		{"Engine", nil, brokenEngines()}, // package engines/hashicorp runs a correct one
	}
}

// TestBroken is run by TestSuitesCanFail in a process of its own.
func TestBroken(t *testing.T) {
	if os.Getenv(brokenEnv) == "" {
		return
	}
	for _, s := range suites() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if s.correct != nil {
				t.Run("correct", func(t *testing.T) {
					t.Parallel()
					s.correct(t)
				})
			}
			if s.name == "LogStore" {
				t.Run("panicking", func(t *testing.T) {
					t.Parallel()
					TestLogStore(t, opener(core.DurableDisk, panickingStore))
				})
			}
			for _, b := range s.broken {
				t.Run(b.defect, func(t *testing.T) {
					t.Parallel()
					limit := brokenDeadline
					if b.property == "KilledWriter" || b.property == "FailingFlush" {
						limit = defaultDeadline // they start processes, and must fail for their own reason
					}
					if s.name == "Engine" {
						limit = brokenEngineDeadline
					}
					b.run(t, only(b.property), WithDeadline(limit))
				})
			}
		})
	}
}

// TestSuitesCanFail holds every suite against subjects with one defect each: the
// property that is there for the defect must fail, and every property of a suite
// must be such a one. The run is a process of its own, as a failed subtest cannot
// be taken back.
func TestSuitesCanFail(t *testing.T) {
	output := runBroken(t, "^TestBroken$")
	results := map[string]string{} // of each subtest: PASS or FAIL
	read := func(output []byte) {
		for _, m := range regexp.MustCompile(`(?m)^\s*--- (\w+): TestBroken/(\S+)`).FindAllSubmatch(output, -1) {
			results[string(m[2])] = string(m[1])
		}
	}
	read(output)
	for _, s := range suites() { // what a defect does may take two members at the right time
		for _, b := range s.broken {
			name := s.name + "/" + b.defect + "/" + b.property
			for range 2 {
				if s.name == "Engine" && results[name] == "PASS" {
					t.Logf("%s: it passes, and is tried again", name)
					read(runBroken(t, "^TestBroken$/^"+s.name+"$/^"+b.defect+"$"))
				}
			}
		}
	}
	for _, s := range suites() {
		var caught []string
		for _, b := range s.broken {
			name := s.name + "/" + b.defect + "/" + b.property
			if got := results[name]; got != "FAIL" {
				t.Errorf("%s: the result is %q, want FAIL", name, got)
			}
			caught = append(caught, b.property)
		}
		for name, result := range results {
			property, ok := strings.CutPrefix(name, s.name+"/correct/")
			if !ok {
				continue
			}
			if result != "PASS" {
				t.Errorf("%s: the result is %s, want PASS", name, result)
			}
			if !slices.Contains(caught, property) {
				t.Errorf("property %s of suite %s is tried against no broken subject", property, s.name)
			}
		}
		if s.correct == nil {
			for _, p := range everyEngineProperty() {
				if !slices.Contains(caught, p.name) {
					t.Errorf("property %s of suite %s is tried against no broken subject", p.name, s.name)
				}
			}
			continue
		}
		if results[s.name+"/correct"] != "PASS" {
			t.Errorf("%s against a correct subject: the result is %q, want PASS", s.name, results[s.name+"/correct"])
		}
	}
	hang := fmt.Sprintf("the property has not ended within %v; all goroutines:", brokenDeadline)
	if !bytes.Contains(output, []byte(hang)) || !bytes.Contains(output, []byte("coretest.hangingClose.Close")) {
		t.Errorf("a Close that hangs is not reported as such with its stack")
	}
	for property, want := range map[string]string{"DeletePrefix": "FAIL", "Concurrent": "FAIL", "Fields": "PASS", "KilledWriter": "PASS"} {
		if got := results["LogStore/panicking/"+property]; got != want {
			t.Errorf("%s of a store that panics in DeleteRange: the result is %q, want %s", property, got, want)
		}
	}
	for _, told := range []string{"panicked: out of range", "coretest.panickingStore", "interrupted by a kill", "succeeds where every flush fails"} {
		if !bytes.Contains(output, []byte(told)) {
			t.Errorf("no failure says %q", told)
		}
	}
	if t.Failed() {
		t.Logf("output of the run:\n%s", output)
	}
}

// runBroken runs TestBroken or a part of it, in a process of its own. The whole must fail.
func runBroken(t *testing.T, some string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run="+some, "-test.v", "-test.parallel=16", "-rapid.nofailfile", "-rapid.seed=1")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), brokenEnv+"=1", "TMPDIR="+cmd.Dir) // what is broken may not tidy up
	output, err := cmd.CombinedOutput()
	_, exited := err.(*exec.ExitError)
	if err == nil && some == "^TestBroken$" || err != nil && !exited || bytes.Contains(output, []byte("panic:")) {
		t.Fatalf("the broken subjects: %v, want a run with failures\n%s", err, output)
	}
	return output
}
