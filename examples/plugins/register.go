package plugins

import (
	"errors"

	"github.com/themilchenko/raftlab/cluster"
)

// Register adds the plug-ins to catalogues.
func Register(known cluster.Catalogs) error {
	return errors.Join(
		known.Backends.Register("rawwal", walEntry()),
		known.Transports.Register("framed", framedEntry()),
		known.Transports.Register("unix", unixEntry()),
		known.Engines.Register("windowed", windowedEntry()))
}
