package raftlab

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/measure"
	"github.com/themilchenko/raftlab/bench/runner"
	"github.com/themilchenko/raftlab/internal/cli"
	"github.com/themilchenko/raftlab/internal/visible"
)

// dryRun tells what a run would be and what is refused of it. It writes nothing.
func dryRun(ctx context.Context, w io.Writer, cfg runner.Config) error {
	plan, refused := runner.NewPlan(ctx, cfg)
	if ctx.Err() != nil {
		return cli.Said(exitInterrupted)
	}
	if len(plan.Cells) > 0 {
		fmt.Fprintf(w, "%s: %s\n\n", cfg.Experiment.Name, visible.Text(cfg.Experiment.Title))
		if err := printCells(w, plan); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n%s", totals(plan), before(plan))
		if u := cfg.Experiment.Until; u != "" {
			fmt.Fprintf(w, "at most: a cell is left out of rounds after the %dth once %s\n", experiment.MinRoundsUntil, u)
		}
		printNeeds(w, plan)
	}
	if refused != nil {
		return cli.Usage(fmt.Errorf("%s would be refused: %w", cfg.Experiment.Name, refused))
	}
	return nil
}

// printCells prints the cells with their levels, in the order of the matrix. Each takes
// part in every round.
func printCells(w io.Writer, plan *runner.Plan) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "CELL")
	for _, l := range plan.Cells[0].Levels {
		fmt.Fprint(t, "\t", strings.ToUpper(l.Factor))
	}
	fmt.Fprintln(t, "\tDURABLE\tTRIALS\tEACH\tMEMORY\tDISK")
	for _, c := range plan.Cells {
		fmt.Fprint(t, c.ID)
		for _, l := range c.Levels {
			fmt.Fprint(t, "\t", visible.Text(l.Value))
		}
		memory, _ := measure.Needs(c.Needs, measure.Memory)
		disk, _ := measure.Needs(c.Needs, measure.Disk)
		fmt.Fprintf(t, "\t%s\t%d\t%s\t%s\t%s\n", c.Durability, c.Trials, c.Time, runner.Bytes(memory), runner.Bytes(disk))
	}
	return t.Flush()
}

// totals says how many trials are to run and how long that takes.
func totals(plan *runner.Plan) string {
	text := cli.Count(plan.Trials, "trial")
	if plan.Done > 0 {
		text += fmt.Sprintf(", %d of them done before", plan.Done)
	}
	return fmt.Sprintf("%s, at least %s, and the start and the end of a group for each", text, plan.Time.Round(time.Second))
}

// before says how many operations come first; how long they take nobody knows.
func before(plan *runner.Plan) string {
	var numbers []string
	for _, c := range plan.Cells {
		if n := fmt.Sprint(c.WarmupOperations); n != "0" && !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return ""
	}
	return fmt.Sprintf("before each load, %s operations that warm its group up\n", strings.Join(numbers, " or "))
}

// printNeeds says what room is needed at least, beside what nobody can foresee: what a
// closed loop writes.
func printNeeds(w io.Writer, plan *runner.Plan) {
	for _, of := range []measure.Resource{measure.Memory, measure.Disk} {
		free := plan.Memory
		if of == measure.Disk {
			free = plan.Disk
		}
		fmt.Fprintf(w, "%s: %s free\n", of, runner.Bytes(float64(free)))
		for _, n := range plan.Needs {
			if n.Of == of && n.Bytes > 0 {
				fmt.Fprintf(w, "  %s for %s\n", runner.Bytes(n.Bytes), n.Why)
			}
		}
	}
}

// Beyond these, what a run takes is said before it begins, and not only when asked.
const (
	loudTime  = 12 * time.Hour
	loudShare = 0.25 // of what is free
)

// aloud says what a run takes, where that is much.
func aloud(w io.Writer, cfg runner.Config, plan *runner.Plan) {
	memory, _ := measure.Needs(plan.Needs, measure.Memory)
	disk, _ := measure.Needs(plan.Needs, measure.Disk)
	if plan.Time > loudTime || memory > loudShare*float64(plan.Memory) || disk > loudShare*float64(plan.Disk) {
		fmt.Fprintf(w, "%s: %s; about %s of memory (%s are free) and %s of disk (%s are free). Ctrl-C keeps what was measured.\n", cfg.Experiment.Name,
			totals(plan), runner.Bytes(memory), runner.Bytes(float64(plan.Memory)), runner.Bytes(disk), runner.Bytes(float64(plan.Disk)))
	}
}
