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
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/transports"
)

var (
	_ pflag.Value = (*addressList)(nil)
	_ pflag.Value = (*peerList)(nil)
)

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
			return fmt.Errorf("%q: want id=host:port, such as \"node2=localhost:12001\"", peer)
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

// want is an error unless ok.
func want(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// checkCluster admits names that gossip can carry and a log can show.
func checkCluster(name string) error {
	return want(len(name) <= 64 && checkID(name) == nil, "want 1 to 64 bytes of printable text without spaces")
}
