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
		c.Backends.Register("wal", walEntry()),
		c.Transports.Register("framed", framedEntry()),
		c.Transports.Register("unix", unixEntry()))
}

// Run runs the experiment file and writes its report to the folder out, and to stdout.
func Run(ctx context.Context, file, out string) error {
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
		Experiment: e, Source: source, Command: os.Args, Out: out, Catalogs: catalogs,
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
