// Package engines is the table of consensus engines: which names an experiment
// or a node may ask for. It starts nothing itself.
package engines

import (
	"errors"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// Catalog maps names to engines.
type Catalog = core.Catalog[core.Engine]

// Builtin returns a new catalogue of the engines that come with raftlab.
func Builtin() *Catalog {
	return core.NewCatalog("engine", check, map[string]core.Engine{hashicorp.Name: hashicorp.Engine{}})
}

func check(e core.Engine) error {
	if e == nil {
		return errors.New("there is no implementation")
	}
	return nil
}
