package runner_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/cluster"
)

// matrix is a line of so many levels.
func matrix(key string, levels int) string {
	var list []string
	for i := range levels {
		list = append(list, fmt.Sprint(i+1))
	}
	return key + " = [" + strings.Join(list, ", ") + "]\n"
}

// TestProductsAreBounded: what grows with a product of settings is refused while it is a
// number, before anything of that size is made, and the error names what to change.
func TestProductsAreBounded(t *testing.T) {
	for name, c := range map[string]struct{ toml, want string }{
		"cells × trials":      {strings.Replace(head, "trials = 2", "trials = 9999", 1) + "[matrix]\n" + matrix("clients", 100) + matrix("value_size", 100), "99990000 trials, and a run has at most 100000: lower trials"},
		"keys that are read":  {strings.Replace(head, "= 100\n", "= 1000000000\nread_ratio = 0.5\n", 1), "of memory, and .* load.keys"},
		"value × clients":     {strings.NewReplacer("clients    = 4", "clients = 100000", "value_size = 64", "value_size = 60000000").Replace(head), "operations under way with values of 60000000 B; lower load.clients"},
		"a trial without end": {strings.NewReplacer(`"150ms"`, `"20h"`, `"50ms"`, `"20h"`).Replace(head), "a trial of cell c01 takes at least 40 h"},
		"time × trials":       {strings.NewReplacer(`"150ms"`, `"20h"`, "trials = 2", "trials = 9999").Replace(head), "the run takes at least .* days"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configure(t, c.toml, cluster.Builtin())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := runner.NewPlan(t.Context(), cfg)
			runtime.ReadMemStats(&after)
			if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("want %q, got %v", c.want, err)
			}
			if made := after.TotalAlloc - before.TotalAlloc; made > 100<<20 {
				t.Errorf("%d MB were allocated to refuse it", made>>20)
			}
			if _, err := os.Stat(cfg.Out); !errors.Is(err, os.ErrNotExist) {
				t.Error("a run folder was made")
			}
		})
	}
}

// TestPlanIsInterrupted: a matrix of many cells is not described to its end.
func TestPlanIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cfg := configure(t, head+"[matrix]\n"+matrix("clients", 100)+matrix("value_size", 100), cluster.Builtin())
	if _, err := runner.NewPlan(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if outcome, err := runner.Run(ctx, cfg); err != nil || !outcome.Interrupted || outcome.Folder != nil {
		t.Errorf("%+v, %v", outcome, err)
	}
}
