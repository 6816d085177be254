package gossip

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip/founding"
)

// metaVersion is the first byte of metadata. A node refuses others whose version
// it does not know.
const metaVersion = 2

// meta is what a node tells of itself: memberlist's metadata of a node.
type meta struct {
	id, cluster string
	discovery.Self
	protocol uint16
	leaving  bool // says goodbye
	// life tells one run of the node's process from another, and revision counts
	// what it has told in it: of two metas of one life the higher is the newer.
	life     uint64
	revision uint32
	expect   uint8
	proposal founding.Set
	promised bool // proposal is a promise
	// founder is the Raft address in the promise, where it is no longer the
	// node's; else empty.
	founder string
}

const (
	flagVoter = 1 << iota
	flagHasState
	flagLeaving
	flagPromised
	flagIncarnation // there is one
	flagGroup       // there is one
	flagsKnown      = 1<<iota - 1
)

var errMeta = fmt.Errorf("%w metadata", core.ErrInvalid)

// encode writes the metadata as: version, flags, protocol (2 bytes), expect,
// incarnation (8), group (8), life (8), revision (4), number of fingerprints, these (8 each), then
// id, cluster, Raft, HTTP and founder address, each after its length (1). Numbers
// are big-endian. Each meta has exactly one encoding.
func (m meta) encode() ([]byte, error) {
	var flags byte
	for flag, set := range map[byte]bool{
		flagVoter: m.Voter, flagHasState: m.HasState, flagLeaving: m.leaving, flagPromised: m.promised,
		flagIncarnation: m.Incarnation != "", flagGroup: m.Group != "",
	} {
		if set {
			flags |= flag
		}
	}
	b := []byte{metaVersion, flags}
	b = binary.BigEndian.AppendUint16(b, m.protocol)
	b = append(b, m.expect)
	for _, s := range []string{m.Incarnation, m.Group} {
		n, err := parseHex(s)
		if err != nil {
			return nil, fmt.Errorf("%w: incarnation or group id: %w", errMeta, err)
		}
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = binary.BigEndian.AppendUint64(b, m.life)
	b = binary.BigEndian.AppendUint32(b, m.revision)
	b = append(b, byte(len(m.proposal)))
	for _, f := range m.proposal {
		b = binary.BigEndian.AppendUint64(b, f)
	}
	for _, s := range m.strings() {
		if len(*s) > 255 {
			return nil, fmt.Errorf("%w: %.20q… is longer than 255 bytes", errMeta, *s)
		}
		b = append(append(b, byte(len(*s))), *s...)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("%w: %d bytes are more than gossip carries, %d: shorten the id (%d bytes), the cluster's name (%d), "+
			"the Raft (%d) or HTTP address (%d), or expect fewer founders", errMeta, len(b), memberlist.MetaMaxSize,
			len(m.id), len(m.cluster), len(m.RaftAddress), len(m.HTTPAddress))
	}
	return b, nil
}

// strings returns the strings in the order of the encoding.
func (m *meta) strings() []*string {
	return []*string{&m.id, &m.cluster, &m.RaftAddress, &m.HTTPAddress, &m.founder}
}

// parseHex reads an incarnation or a group id; 0 for none.
func parseHex(s string) (uint64, error) {
	if s != "" && !core.IsIncarnation(s) {
		return 0, fmt.Errorf("%w: %q is not of 16 hexadecimal digits", core.ErrInvalid, s)
	}
	if s == "" {
		return 0, nil
	}
	return strconv.ParseUint(s, 16, 64)
}

// formatHex is its reverse.
func formatHex(b []byte, there bool) (string, error) {
	n := binary.BigEndian.Uint64(b)
	switch {
	case there:
		return fmt.Sprintf("%016x", n), nil
	case n != 0:
		return "", fmt.Errorf("%w: an id that is not there", errMeta)
	}
	return "", nil
}

// metaHeader is the length of the part before the fingerprints.
const metaHeader = 34

// decodeMeta reads what encode wrote, and nothing else.
func decodeMeta(b []byte) (meta, error) {
	var m meta
	switch {
	case len(b) > memberlist.MetaMaxSize:
		return m, fmt.Errorf("%w: %d bytes are more than %d", errMeta, len(b), memberlist.MetaMaxSize)
	case len(b) == 0 || b[0] != metaVersion:
		return m, fmt.Errorf("%w: unknown version %.1x, this node knows %d: is it a raftlab node of another release?", errMeta, b, metaVersion)
	case len(b) < metaHeader:
		return m, fmt.Errorf("%w: cut short", errMeta)
	case b[1]&^flagsKnown != 0:
		return m, fmt.Errorf("%w: unknown flags %#x", errMeta, b[1])
	}
	m.Voter, m.HasState = b[1]&flagVoter != 0, b[1]&flagHasState != 0
	m.leaving, m.promised = b[1]&flagLeaving != 0, b[1]&flagPromised != 0
	m.protocol = binary.BigEndian.Uint16(b[2:])
	m.expect = b[4]
	var err error
	if m.Incarnation, err = formatHex(b[5:], b[1]&flagIncarnation != 0); err != nil {
		return m, err
	}
	if m.Group, err = formatHex(b[13:], b[1]&flagGroup != 0); err != nil {
		return m, err
	}
	m.life, m.revision = binary.BigEndian.Uint64(b[21:]), binary.BigEndian.Uint32(b[29:])
	count := int(b[metaHeader-1])
	b = b[metaHeader:]
	if len(b) < 8*count {
		return m, fmt.Errorf("%w: cut short", errMeta)
	}
	for i := range count {
		f := binary.BigEndian.Uint64(b[8*i:])
		if i > 0 && f <= m.proposal[i-1] {
			return m, fmt.Errorf("%w: fingerprints out of order", errMeta)
		}
		m.proposal = append(m.proposal, f)
	}
	b = b[8*count:]
	for _, s := range m.strings() {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return m, fmt.Errorf("%w: cut short", errMeta)
		}
		end := 1 + int(b[0])
		*s, b = string(b[1:end]), b[end:]
	}
	switch {
	case len(b) > 0:
		return m, fmt.Errorf("%w: %d bytes too many", errMeta, len(b))
	case m.id == "" || m.RaftAddress == "":
		return m, fmt.Errorf("%w: no id or no Raft address", errMeta)
	case m.promised && count == 0:
		return m, fmt.Errorf("%w: a promise of nothing", errMeta)
	}
	return m, nil
}

// record is m as the founding protocol sees it.
func (m meta) record(state discovery.State) founding.Record {
	r := founding.Record{
		ID:          m.id,
		Incarnation: m.Incarnation,
		Address:     m.RaftAddress,
		Alive:       state == discovery.Alive,
		Voter:       m.Voter,
		HasState:    m.HasState,
		Group:       m.Group,
		Expect:      int(m.expect),
		Proposal:    m.proposal,
		Promised:    m.promised,
	}
	if m.founder != "" {
		r.Address = m.founder
	}
	return r
}

// peer is m as others are told of it.
func (m meta) peer() discovery.Peer {
	return discovery.Peer{
		ID: m.id, Self: m.Self, Protocol: int(m.protocol),
		Undecided: m.expect > 0 && !m.HasState,
	}
}
