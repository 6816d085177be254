package links

import (
	"sync"

	"github.com/themilchenko/raftlab/engines/internal/identity"
)

// Routes knows which members are reached elsewhere than at the address that the
// configuration has for them. A member is looked for elsewhere only after nobody
// was reached at that address, so it stays with a member that answers there,
// whatever is said of it. Safe for concurrent use.
type Routes struct {
	locate func(id string) (address string, known bool) // nil: nobody moves

	mu sync.Mutex
	to map[string]string // by name
}

// NewRoutes returns routes as core.ReplicaConfig.Locate has it.
func NewRoutes(locate func(id string) (address string, known bool)) *Routes {
	return &Routes{locate: locate, to: map[string]string{}}
}

// Target returns where the next call to a member goes.
func (r *Routes) Target(name, configured string) string {
	if r.locate == nil {
		return configured
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, found := r.to[name]; found {
		return at
	}
	return configured
}

// Failed notes that the member was not reached at an address.
func (r *Routes) Failed(name, configured, at string) {
	if r.locate == nil {
		return
	}
	elsewhere, known := r.locate(identity.Of(name).ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	if at == configured && known && elsewhere != configured {
		r.to[name] = elsewhere
	} else {
		delete(r.to, name)
	}
}
