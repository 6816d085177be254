// Package hostport reads addresses of the form host:port, as people, files and other
// nodes write them. It looks no name up and dials nobody.
package hostport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Split takes an address apart. No host stands for every interface, port 0 for any that
// is free.
func Split(address string) (host string, port uint16, err error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, "/ \t\r\n\"'\\@?#") {
		return "", 0, errors.New("want host:port, such as 127.0.0.1:8080")
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || digits != strconv.FormatUint(number, 10) {
		return "", 0, errors.New("want a port from 1 to 65535 behind the host")
	}
	return host, uint16(number), nil
}

// CheckDial refuses an address that others cannot dial.
func CheckDial(address string) error {
	host, port, err := Split(address)
	switch {
	case err != nil:
		return err
	case port == 0:
		return errors.New("want a port from 1 to 65535 behind the host")
	case Everywhere(host):
		return fmt.Errorf("others cannot dial it: name the host, as in 127.0.0.1:%d", port)
	}
	return nil
}

// Everywhere says whether a host stands for every interface.
func Everywhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
