package fault

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// socket is a line of /proc/net/{tcp,udp}.
type socket struct {
	local, remote netip.AddrPort
	listens       bool
	inode         string
}

// sockets reads the table of a protocol, "tcp" or "udp".
func sockets(protocol string) ([]socket, error) {
	f, err := os.Open(filepath.Join("/proc/net", protocol))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []socket
	lines := bufio.NewScanner(f)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			continue
		}
		local, err := parseAddress(fields[1])
		remote, err2 := parseAddress(fields[2])
		if err := errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("/proc/net/%s: %w", protocol, err)
		}
		list = append(list, socket{local, remote, fields[3] == "0A", fields[9]})
	}
	return list, lines.Err()
}

// parseAddress reads 0100007F:1F90, an address in the order of the machine's bytes.
func parseAddress(s string) (netip.AddrPort, error) {
	host, port, ok := strings.Cut(s, ":")
	h, err := strconv.ParseUint(host, 16, 32)
	p, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", s)
	}
	ip := netip.AddrFrom4([4]byte{byte(h), byte(h >> 8), byte(h >> 16), byte(h >> 24)})
	return netip.AddrPortFrom(ip, uint16(p)), nil
}

// inodes returns the sockets that a process has open.
func inodes(pid int) map[string]bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, _ := os.ReadDir(dir) // it may have ended: then it has none
	open := map[string]bool{}
	for _, entry := range list {
		target, _ := os.Readlink(filepath.Join(dir, entry.Name()))
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			open[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return open
}

// Listening returns the addresses where a process listens: those of TCP, and those
// bound for UDP.
func Listening(pid int) (tcp, udp []netip.AddrPort, err error) {
	open := inodes(pid)
	for protocol, found := range map[string]*[]netip.AddrPort{"tcp": &tcp, "udp": &udp} {
		list, err := sockets(protocol)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range list {
			if open[s.inode] && (s.listens || protocol == "udp") {
				*found = append(*found, s.local)
			}
		}
	}
	return tcp, udp, nil
}

// inodeOf returns the socket of who connected from one address to another. The kernel is
// asked for that one; its table of all is long where many connections have just ended.
func inodeOf(from, to netip.AddrPort) (string, error) {
	inode, err := diagnose(from, to)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return inode, err
	}
	list, err := sockets("tcp") // a kernel without that question
	if err != nil {
		return "", err
	}
	for _, s := range list {
		if s.local == from && s.remote == to {
			return s.inode, nil
		}
	}
	return "", fmt.Errorf("nobody is at %s any more", from)
}
