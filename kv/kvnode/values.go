package kvnode

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/themilchenko/raftlab/internal/hostport"
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
		address = strings.TrimSpace(address)
		dialled, err := toDial(address)
		if err != nil {
			return fmt.Errorf("%q: %w", address, err)
		}
		*l = append(*l, dialled)
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
			return fmt.Errorf("%q: %w", peer, err)
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
	_, _, err := hostport.Split(address)
	return err
}

// checkAdvertise admits addresses that others can dial; port 0 stands for the
// port that is listened on.
func checkAdvertise(address string) error {
	host, _, err := hostport.Split(address)
	if err == nil && hostport.Everywhere(host) {
		return errors.New("others cannot dial every interface: name the host")
	}
	return err
}

// toDial admits addresses to dial. One without a host, such as :11000, is on this machine.
func toDial(address string) (string, error) {
	host, port, err := hostport.Split(address)
	switch {
	case err != nil:
		return "", err
	case port == 0:
		return "", errors.New("it cannot be dialled: want the host and port that another node listens on")
	case host == "":
		return "localhost" + address[strings.LastIndexByte(address, ':'):], nil
	}
	return address, nil
}

// networked returns the names of the transports that reach other processes.
func networked(c *transports.Catalog) []string {
	var names []string
	for name, t := range c.All() {
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
