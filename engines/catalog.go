// Package engines is the table of consensus engines: which names an experiment
// or a node may ask for. It starts nothing itself.
package engines

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/engines/hashicorp"
)

// Catalog maps names to engines. It is not safe for concurrent registration.
type Catalog struct {
	entries map[string]core.Engine
}

// Builtin returns a new catalogue of the engines that come with raftlab.
func Builtin() *Catalog {
	return &Catalog{entries: map[string]core.Engine{hashicorp.Name: hashicorp.Engine{}}}
}

// Register adds an engine under a new name.
func (c *Catalog) Register(name string, e core.Engine) error {
	if name == "" || e == nil {
		return fmt.Errorf("%w: an engine needs a name and an implementation", core.ErrInvalid)
	}
	if _, taken := c.entries[name]; taken {
		return fmt.Errorf("%w: there is an engine %q already", core.ErrInvalid, name)
	}
	c.entries[name] = e
	return nil
}

// Lookup returns the engine called name. An unknown name is an error that lists
// the known ones.
func (c *Catalog) Lookup(name string) (core.Engine, error) {
	e, ok := c.entries[name]
	if !ok {
		return nil, fmt.Errorf("%w: no engine %q; there are %s", core.ErrUnknownName, name, strings.Join(c.Names(), ", "))
	}
	return e, nil
}

// Names returns all names, sorted.
func (c *Catalog) Names() []string { return slices.Sorted(maps.Keys(c.entries)) }
