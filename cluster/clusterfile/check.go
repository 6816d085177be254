package clusterfile

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// taken is what the nodes read so far lay claim to.
type taken struct {
	aliases   map[string]int // line
	addresses map[string]use
	places    []place
}

// place is where a node stands in the file.
type place struct {
	alias  string
	node   int // line
	gossip int // line of its address; 0: it has none
}

func (p place) gossips() bool { return p.gossip > 0 }

type use struct {
	line int
	key  string
}

const aliasLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// maxAlias leaves room for it in the name of a file.
const maxAlias = 100

// alias checks that a node's name can be the name of its folder, on file systems
// that ignore case too, and cannot be mistaken for a flag.
func (r *reader) alias(e entry, key string, seen *taken) string {
	s, ok := r.text(e, key)
	if !ok {
		return ""
	}
	switch {
	case strings.Trim(s, aliasLetters) != "" || s == "." || s == ".." || s[0] == '-':
		r.add(e.line, key, "%q cannot name a folder: use letters, digits, '.', '_' and '-', and do not begin with '-'", abridge(s))
	case strings.EqualFold(s, "leader"):
		r.add(e.line, key, "%q stands for the node that leads: give it another name", s)
	case len(s) > maxAlias:
		r.add(e.line, key, "longer than %d letters", maxAlias)
	}
	folded := strings.ToLower(s)
	if first, twice := seen.aliases[folded]; twice {
		r.add(e.line, key, "%q is taken by the node on line %d: give each its own", abridge(s), first)
	} else {
		seen.aliases[folded] = e.line
	}
	return s
}

// address checks a host:port that others can dial and no other node uses.
func (r *reader) address(e entry, key string, seen *taken) string {
	s, ok := r.text(e, key)
	if !ok {
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || strings.ContainsAny(host, "/ \t\r\n\"'\\@?#") {
		r.add(e.line, key, "%q is no address: write host:port, such as 127.0.0.1:8080", abridge(s))
		return s
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || port[0] == '0' {
		r.add(e.line, key, "%q has no valid port: 1 to 65535 are", abridge(s))
		return s
	}
	ip, err := netip.ParseAddr(host)
	if host == "" || err == nil && ip.IsUnspecified() {
		r.add(e.line, key, "%q cannot be dialled by others: name the host, as in 127.0.0.1:%d", abridge(s), number)
		return s
	}
	canonical := strings.ToLower(host)
	switch {
	case err == nil:
		canonical = ip.Unmap().String()
	case canonical == "localhost":
		canonical = "127.0.0.1"
	}
	canonical = net.JoinHostPort(canonical, port)
	if first, twice := seen.addresses[canonical]; twice {
		r.add(e.line, key, "%q is taken by %s on line %d: give each its own port", abridge(s), first.key, first.line)
	} else {
		seen.addresses[canonical] = use{line: e.line, key: key}
	}
	return s
}

// managed are settings that follow from elsewhere in the file.
func managed(key string) (from string, is bool) {
	switch strings.ReplaceAll(strings.TrimLeft(key, "-"), "_", "-") {
	case "id":
		return keyAlias, true
	case "haddr":
		return keyHTTP, true
	case "raddr":
		return keyRPC, true
	case "join":
		return keyLeader, true
	case "gossip", "gossip-join":
		return keyGossip, true
	case "gossip-key":
		return keyGossipKey, true
	case "bootstrap-expect":
		return keyCluster, true
	case "cluster":
		return keyName, true
	case "data":
		return keyDataDir, true
	}
	return "", false
}

// settings returns a table of kvnode's settings, nil if it is empty.
func (r *reader) settings(v value, key string) map[string]any {
	t, ok := v.data.(table)
	if !ok {
		r.add(v.line, key, "must be a table of settings of kvnode, not %s", v.kind())
		return nil
	}
	var known []string
	settings := make(map[string]any, len(t))
	for _, e := range t {
		if from, is := managed(e.key); is {
			r.add(e.line, qualify(key, e.key), "follows from %s: leave it away here", from)
			continue
		}
		if slices.Contains(known, e.key) {
			r.add(e.line, qualify(key, e.key), "given twice")
			continue
		}
		known = append(known, e.key)
		settings[e.key] = r.setting(e.value, qualify(key, e.key))
	}
	if len(settings) == 0 {
		return nil
	}
	return settings
}

func (r *reader) setting(v value, key string) any {
	switch d := v.data.(type) {
	case bool, int64, float64, string:
		return d
	case []value:
		list := make([]any, len(d))
		for i, item := range d {
			list[i] = r.setting(item, key)
		}
		return list
	case table:
		below := make(map[string]any, len(d))
		for _, e := range d {
			if _, twice := below[e.key]; twice {
				r.add(e.line, qualify(key, e.key), "given twice")
			}
			below[e.key] = r.setting(e.value, qualify(key, e.key))
		}
		return below
	}
	r.add(v.line, key, "must be a string, number, boolean, list or table, not %s", v.kind())
	return nil
}
