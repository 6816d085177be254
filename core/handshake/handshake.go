// Package handshake is what two members say to each other before anything else
// on a connection of a core.Wire: who they are, and whom they mean. It keeps apart
// what looks alike: a member that lost its data, another group on the same ports, or
// something that does not speak Raft at all.
//
// It recognises members, it does not authenticate them: whoever knows a group's id
// and a member's incarnation can pass for that member.
package handshake

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/themilchenko/raftlab/core"
)

// magic begins each side's hello; its last byte is the version. A length of two
// bytes, big endian, and as much JSON follow.
const magic = "rlab\x01"

// maxBytes bounds a hello: a stranger does not make us read more.
const maxBytes = 4 << 10

// hello is what either side says.
type hello struct {
	ID          string `json:"id"`
	Incarnation string `json:"incarnation,omitempty"`
	Group       string `json:"group,omitempty"`
	Former      string `json:"former,omitempty"`
	Service     string `json:"service,omitempty"`
	// ToID and ToIncarnation are whom the side that dialled means.
	ToID          string `json:"to_id,omitempty"`
	ToIncarnation string `json:"to_incarnation,omitempty"`
	// Refused is why the side that accepted closes the connection; empty: it does not.
	Refused string `json:"refused,omitempty"`
}

// RefusedError says that one side did not take the other for whom it should be.
type RefusedError struct {
	Peer   string // who it is, or its address while that is not known
	Reason string
	Theirs bool // true: the other side refused
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Theirs {
		return e.Peer + " refused the connection: " + e.Reason
	}
	return "refused " + e.Peer + ": " + e.Reason
}

// Dial introduces self on a connection that was made to reach the member to, and
// returns who answers. It changes deadlines of conn, and leaves none.
func Dial(conn net.Conn, deadline time.Time, self, to core.Identity) (core.Identity, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return core.Identity{}, fmt.Errorf("introduce to %s: %w", to.ID, err)
	}
	h := own(self)
	h.ToID, h.ToIncarnation = to.ID, to.Incarnation
	if err := write(conn, h); err != nil {
		return core.Identity{}, fmt.Errorf("introduce to %s: %w", to.ID, err)
	}
	answer, err := read(conn)
	if err != nil {
		return core.Identity{}, fmt.Errorf("introduce to %s: %w", to.ID, err)
	}
	peer := answer.identity()
	if answer.Refused != "" {
		return peer, &RefusedError{Peer: peer.String(), Reason: answer.Refused, Theirs: true}
	}
	if err := Recognise(self, peer); err != nil {
		return peer, err
	}
	if err := Meant(peer, to); err != nil {
		return peer, err
	}
	return peer, conn.SetDeadline(time.Time{})
}

// Accept reads who has dialled, and answers as self, or with why not: because the
// caller is of another group or means another node, or what admit says. Who is
// refused is told why; the connection is then to be closed.
func Accept(conn net.Conn, deadline time.Time, self core.Identity, admit func(core.Identity) error) (core.Identity, error) {
	if err := conn.SetDeadline(deadline); err != nil {
		return core.Identity{}, fmt.Errorf("be introduced: %w", err)
	}
	h, err := read(conn)
	if err != nil {
		return core.Identity{}, fmt.Errorf("be introduced: %w", err)
	}
	peer := h.identity()
	refusal := Recognise(self, peer)
	if refusal == nil && self.Group != "" && peer.Group == "" {
		refusal = &RefusedError{Peer: peer.String(), Reason: peer.String() + " is in no group, so it has nothing to say here"}
	}
	if refusal == nil {
		refusal = Meant(self, core.Identity{ID: h.ToID, Incarnation: h.ToIncarnation})
	}
	if refusal == nil && admit != nil {
		refusal = admit(peer)
	}
	answer := own(self)
	if refusal != nil {
		answer.Refused = refusal.Error()
		var r *RefusedError
		if errors.As(refusal, &r) {
			answer.Refused = r.Reason
		}
	}
	if err := write(conn, answer); err != nil {
		return peer, errors.Join(refusal, fmt.Errorf("answer %s: %w", peer, err))
	}
	if refusal != nil {
		return peer, refusal
	}
	return peer, conn.SetDeadline(time.Time{})
}

// Recognise refuses a peer without an id, and one of another group. A node that is in
// no group yet goes with any.
func Recognise(self, peer core.Identity) error {
	switch {
	case peer.ID == "":
		return &RefusedError{Peer: "a node without an id", Reason: "it does not say who it is"}
	case self.Group == "" || peer.Group == "" || self.Group == peer.Group:
		return nil
	case self.Former == peer.Group:
		return &RefusedError{Peer: peer.String(), Reason: outlived(peer, self)}
	case peer.Former == self.Group:
		return &RefusedError{Peer: peer.String(), Reason: outlived(self, peer)}
	}
	return &RefusedError{Peer: peer.String(), Reason: fmt.Sprintf(
		"%s is of group %s and %s of group %s: two groups that use the same ports, or data of another group. "+
			"Start the node that is here by mistake on other ports, or in a new directory with --join", self, self.Group, peer, peer.Group)}
}

// outlived tells of a member of a group that was recovered without it, as that of member.
func outlived(old, member core.Identity) string {
	return fmt.Sprintf("%s is of group %s, which was recovered as group %s after it had lost its majority: what %s holds counts no more. "+
		"Move its folder away and start it with --join %s, or: clusterctl replace %s",
		old, old.Group, member.Group, old.ID, cmp.Or(member.Service, "HOST:PORT of a member"), old.ID)
}

// Meant refuses where a node is reached that is not the member to.
func Meant(reached, to core.Identity) error {
	var reason string
	switch {
	case to.ID == reached.ID && to.Incarnation == reached.Incarnation:
		return nil
	case to.ID != reached.ID:
		reason = fmt.Sprintf("here is %s, not %s", reached, to.ID)
	default:
		reason = fmt.Sprintf("here is %s, whose data are not those of the member %s: it has lost them. "+
			"Have it join again (--join HOST:PORT of a member): the group then takes the old vote away and gives a new one", reached, to)
	}
	return &RefusedError{Peer: reached.String(), Reason: reason}
}

func own(self core.Identity) hello {
	return hello{ID: self.ID, Incarnation: self.Incarnation, Group: self.Group, Former: self.Former, Service: self.Service}
}

func (h hello) identity() core.Identity {
	return core.Identity{ID: h.ID, Incarnation: h.Incarnation, Group: h.Group, Former: h.Former, Service: h.Service}
}

func write(w io.Writer, h hello) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(text) > maxBytes {
		return fmt.Errorf("%w: a hello of %d bytes, at most %d are allowed", core.ErrInvalid, len(text), maxBytes)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint16([]byte(magic), uint16(len(text))), text...))
	return err
}

func read(r io.Reader) (hello, error) {
	var head [len(magic) + 2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return hello{}, err
	}
	size := binary.BigEndian.Uint16(head[len(magic):])
	if string(head[:len(magic)]) != magic || size > maxBytes {
		return hello{}, fmt.Errorf("%w: what is at the other end does not introduce itself as this version of raftlab does", core.ErrInvalid)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return hello{}, err
	}
	var h hello
	if err := json.Unmarshal(text, &h); err != nil {
		return hello{}, fmt.Errorf("%w: a hello that cannot be read: %w", core.ErrInvalid, err)
	}
	return h, nil
}
