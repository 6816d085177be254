package plugins

import (
	"context"
	"errors"
	"os"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/report"
	"github.com/themilchenko/raftlab/bench/runner"
)

// catalogs are those of raftlab with the plug-ins.
func catalogs() (runner.Catalogs, error) {
	c := runner.Builtin()
	return c, errors.Join(
		c.Backends.Register("wal", WAL()),
		c.Transports.Register("framed", Framed()),
		c.Transports.Register("unix", Unix()))
}

// Run runs the experiment file and writes its report to the folder out, and to stdout.
// kvnode is the program that members run where the file has mode = "process".
func Run(ctx context.Context, file, out, kvnode string) error {
	catalogs, err := catalogs()
	if err != nil {
		return err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	e, err := experiment.Parse(file, source, catalogs.Known(), nil)
	if err != nil {
		return err
	}
	outcome, err := runner.Run(ctx, runner.Config{
		Experiment: e, Source: source, Command: os.Args, Out: out, Kvnode: kvnode, Catalogs: catalogs,
	})
	if outcome.Folder == nil {
		return err
	}
	defer outcome.Folder.Close()
	if err != nil {
		return err
	}
	if err := report.Write(outcome.Folder); err != nil {
		return err
	}
	return report.Terminal(os.Stdout, outcome.Folder, report.English, 80)
}
