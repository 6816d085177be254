package hashicorp

import (
	"errors"
	"net"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/themilchenko/raftlab/core/handshake"
)

// detours knows which members are reached elsewhere than at the address that the
// configuration has for them. A member is looked for elsewhere only after nobody
// was reached at that address, so it stays with a member that answers there,
// whatever is said of it.
type detours struct {
	locate func(id string) (address string, known bool) // nil: nobody moves
	own    raft.ServerAddress                           // no other member is there
	self   *persona

	mu sync.Mutex
	to map[raft.ServerID]raft.ServerAddress
}

func newDetours(own string, self *persona, locate func(id string) (string, bool)) *detours {
	return &detours{own: raft.ServerAddress(own), self: self, locate: locate, to: map[raft.ServerID]raft.ServerAddress{}}
}

// call calls a member where it was last reached, and says where that was. Where
// nobody is reached, or another member, the next call goes to the other address, if
// there is one.
//
// Members share hosts, and a port that one had another may have later. The library
// takes any answer for that of the member it meant; a vote or an entry counted for
// two members is a majority that is none. So answer is looked at for who gave it. It
// is nil for answers that the library does not put their sender in: those to snapshots
// and to transfers of leadership, which change nothing if another member gives them.
func (d *detours) call(id raft.ServerID, configured raft.ServerAddress, answer raft.WithRPCHeader, call func(at raft.ServerAddress) error) (raft.ServerAddress, error) {
	at := d.target(id, configured)
	if at == d.own {
		// Sent there, it would come to this replica, which takes it for another's: a
		// leader would step down.
		err := &strangerError{at: at, from: "this replica", meant: string(id)}
		d.failed(id, configured, at)
		return at, err
	}
	err := call(at)
	if err == nil && answer != nil {
		from, _ := sender(answer.GetRPCHeader())
		if err = d.self.recognise(from); err == nil && serverID(from.ID, from.Incarnation) != id {
			err = &strangerError{at: at, from: from.String(), meant: string(id)}
		}
	}
	if unreachable(err) {
		d.failed(id, configured, at)
	}
	return at, err
}

// strangerError says that another member answered than the one that was asked.
type strangerError struct {
	at          raft.ServerAddress
	from, meant string
}

func (e *strangerError) Error() string {
	return "at " + string(e.at) + ", where " + e.meant + " should be, " + e.from + " answers"
}

func unreachable(err error) bool {
	var network net.Error
	var stranger *strangerError
	var refused *handshake.RefusedError
	return errors.As(err, &network) || errors.As(err, &stranger) || errors.As(err, &refused)
}

func (d *detours) target(id raft.ServerID, configured raft.ServerAddress) raft.ServerAddress {
	if d.locate == nil {
		return configured
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, found := d.to[id]; found {
		return at
	}
	return configured
}

// failed notes that the member was not reached at an address.
func (d *detours) failed(id raft.ServerID, configured, at raft.ServerAddress) {
	if d.locate == nil {
		return
	}
	member, _ := memberID(id)
	elsewhere, known := d.locate(member)
	d.mu.Lock()
	defer d.mu.Unlock()
	if at == configured && known && raft.ServerAddress(elsewhere) != configured {
		d.to[id] = raft.ServerAddress(elsewhere)
	} else {
		delete(d.to, id)
	}
}
