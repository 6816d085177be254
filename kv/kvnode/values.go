package kvnode

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/transports"
)

var (
	_ pflag.Value = (*text)(nil)
	_ pflag.Value = (*timeout)(nil)
	_ list        = (*addressList)(nil)
	_ list        = (*peerList)(nil)
)

// list is the value of a flag that takes several things, with commas between them. To
// give the flag again adds to it.
type list interface {
	pflag.Value
	example() string // one of them
}

// text is the value of a flag that is checked as it is given.
type text struct {
	value *string
	kind  string // what the help calls it
	check func(string) error
}

// String implements pflag.Value.
func (t *text) String() string { return *t.value }

// Type implements pflag.Value.
func (t *text) Type() string { return t.kind }

// Set implements pflag.Value.
func (t *text) Set(s string) error {
	if err := t.check(s); err != nil {
		return err
	}
	*t.value = s
	return nil
}

// timeout is the value of --request-timeout.
type timeout struct{ value *time.Duration }

// String implements pflag.Value.
func (t *timeout) String() string { return t.value.String() }

// Type implements pflag.Value.
func (t *timeout) Type() string { return "duration" }

// Set implements pflag.Value.
func (t *timeout) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > api.MaxTimeout {
		return fmt.Errorf(`want a duration such as "5s", at most %v`, api.MaxTimeout)
	}
	*t.value = d
	return nil
}

// addressList is the value of --join and --gossip-join.
type addressList []string

// String implements pflag.Value.
func (l *addressList) String() string { return strings.Join(*l, ",") }

// Type implements pflag.Value.
func (l *addressList) Type() string { return "host:port,..." }

// Set implements pflag.Value.
func (l *addressList) Set(s string) error {
	for address := range strings.SplitSeq(s, ",") {
		address, err := toDial(strings.TrimSpace(address))
		if err != nil {
			return err
		}
		*l = append(*l, address)
	}
	return nil
}

func (l *addressList) example() string { return "localhost:11000" }

// peerList is the value of --peers: Raft addresses by id.
type peerList map[string]string

// String implements pflag.Value.
func (l *peerList) String() string {
	var all []string
	for _, id := range slices.Sorted(maps.Keys(*l)) {
		all = append(all, id+"="+(*l)[id])
	}
	return strings.Join(all, ",")
}

// Type implements pflag.Value.
func (l *peerList) Type() string { return "id=host:port,..." }

// Set implements pflag.Value.
func (l *peerList) Set(s string) error {
	for peer := range strings.SplitSeq(s, ",") {
		peer = strings.TrimSpace(peer)
		at := strings.LastIndexByte(peer, '=')
		if at < 0 {
			return fmt.Errorf("%q: want id=host:port, such as %q", peer, l.example())
		}
		id := peer[:at]
		if err := checkID(id); err != nil {
			return fmt.Errorf("id %q: %w", id, err)
		}
		address, err := toDial(peer[at+1:])
		if err != nil {
			return err
		}
		if first, twice := (*l)[id]; twice {
			return fmt.Errorf("%s twice, at %s and %s", id, first, address)
		}
		if *l == nil {
			*l = peerList{}
		}
		(*l)[id] = address
	}
	return nil
}

func (l *peerList) example() string { return "node2=localhost:12001" }

// checkID admits what can be a header's value and is easy to read in a log.
func checkID(id string) error {
	bad := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if id == "" || len(id) > 128 || !utf8.ValidString(id) || strings.ContainsFunc(id, bad) {
		return errors.New("want 1 to 128 bytes of printable text without spaces")
	}
	return nil
}

// checkBind admits addresses to listen on.
func checkBind(address string) error {
	_, _, err := splitAddress(address)
	return err
}

// checkAdvertise admits addresses that others can dial; port 0 stands for the
// port that is listened on.
func checkAdvertise(address string) error {
	host, _, err := splitAddress(address)
	if err == nil && isWildcard(host) {
		return errors.New("others cannot dial every interface: name the host")
	}
	return err
}

// toDial admits addresses to dial. One without a host, such as :11000, is on this machine.
func toDial(address string) (string, error) {
	host, port, err := splitAddress(address)
	switch {
	case err != nil:
		return "", err
	case port == 0:
		return "", fmt.Errorf("%q cannot be dialled: want the host and port that another node listens on", address)
	case host == "":
		return "localhost" + address[strings.LastIndexByte(address, ':'):], nil
	}
	return address, nil
}

func splitAddress(address string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, errors.New(`want host:port, such as "localhost:11000"`)
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: want a number up to 65535", digits)
	}
	if strings.ContainsFunc(host, unicode.IsSpace) {
		return "", 0, fmt.Errorf("host %q has a space in it", host)
	}
	return host, uint16(number), nil
}

// isWildcard says whether a host stands for all interfaces.
func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		for _, w := range words {
			if s == w {
				return nil
			}
		}
		return fmt.Errorf("want one of %s", strings.Join(words, ", "))
	}
}

// lookup admits the names of a catalogue.
func lookup[T any](c *core.Catalog[T]) func(string) error {
	return func(name string) error {
		_, err := c.Lookup(name)
		return err
	}
}

// networked returns the names of the transports that reach other processes.
func networked(c *transports.Catalog) []string {
	var names []string
	for _, name := range c.Names() {
		t, err := c.Lookup(name)
		if err != nil {
			continue
		}
		if info, err := t.Info(nil); err == nil && info.Remote {
			names = append(names, name)
		}
	}
	return names
}
