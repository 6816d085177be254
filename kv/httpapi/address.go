package httpapi

import (
	"net"
	"strconv"
	"strings"

	"github.com/themilchenko/raftlab/kv"
)

// checkAddress checks a Raft address. What it looks like is the transport's
// business, so it is only held to be host:port if this node's own is.
func checkAddress(own, field, address string) error {
	if _, _, err := net.SplitHostPort(own); err != nil {
		return nil
	}
	return checkHostPort(field, address)
}

// checkHostPort refuses addresses that other nodes could not reach.
func checkHostPort(field, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || len(address) > kv.MaxNodeBytes || strings.ContainsAny(host, "/?#@ ") || !headerSafe(address) {
		return badRequest("body: %s %.40q: want host:port", field, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return badRequest("body: %s %.40q: the port is no number from 1 to 65535", field, address)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return badRequest("body: %s %.40q: other nodes cannot reach it: name a host", field, address)
	}
	return nil
}

// headerSafe reports whether a header can carry text as it is.
func headerSafe(text string) bool {
	return strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
