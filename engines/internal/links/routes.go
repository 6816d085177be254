package links

import (
	"slices"
	"sync"

	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// Routes knows which members are reached elsewhere than at the address that the
// configuration has for them. A member is looked for elsewhere only after nobody
// was reached at that address, so it stays with a member that answers there,
// whatever is said of it. Safe for concurrent use.
type Routes struct {
	sources []Source

	mu sync.Mutex
	to map[string]string // by name
}

// Source says where a member may be, as core.ReplicaConfig.Locate does.
type Source = func(id string) (address string, known bool)

// NewRoutes returns routes with places to look at, in turn: one may be as outdated as the
// configuration is. Those that are nil are left out.
func NewRoutes(sources ...Source) *Routes {
	sources = slices.DeleteFunc(sources, func(s Source) bool { return s == nil })
	return &Routes{sources: sources, to: map[string]string{}}
}

// Target returns where the next call to a member goes.
func (r *Routes) Target(name, configured string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, found := r.to[name]; found {
		return at
	}
	return configured
}

// Failed notes that the member was not reached at an address: the next place is tried, and
// the configured one after the last.
func (r *Routes) Failed(name, configured, at string) {
	places := []string{configured}
	for _, locate := range r.sources {
		if elsewhere, known := locate(identity.Of(name).ID); known && !slices.Contains(places, elsewhere) {
			places = append(places, elsewhere)
		}
	}
	next := places[(slices.Index(places, at)+1)%len(places)]
	r.mu.Lock()
	defer r.mu.Unlock()
	if next == configured {
		delete(r.to, name)
	} else {
		r.to[name] = next
	}
}
