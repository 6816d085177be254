package cluster

import (
	"github.com/themilchenko/raftlab/backends"
	"github.com/themilchenko/raftlab/engines"
	"github.com/themilchenko/raftlab/transports"
)

// Catalogs are the parts that members may be made of.
type Catalogs struct {
	Engines    *engines.Catalog
	Backends   *backends.Catalog
	Transports *transports.Catalog
}

// Builtin returns new catalogues of what comes with raftlab. More may be registered.
func Builtin() Catalogs {
	return Catalogs{engines.Builtin(), backends.Builtin(), transports.Builtin()}
}
