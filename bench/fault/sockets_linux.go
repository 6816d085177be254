package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	psnet "github.com/shirou/gopsutil/v4/net"
	"golang.org/x/sys/unix"
)

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
// bound for UDP. One that has ended has none.
func Listening(pid int) (tcp, udp []netip.AddrPort, err error) {
	sockets, err := psnet.ConnectionsPid("inet4", int32(pid))
	if err != nil {
		return nil, nil, fmt.Errorf("sockets of process %d: %w", pid, err)
	}
	for _, s := range sockets {
		switch {
		case s.Type == unix.SOCK_DGRAM:
			udp = append(udp, addrPort(s.Laddr))
		case s.Status == "LISTEN":
			tcp = append(tcp, addrPort(s.Laddr))
		}
	}
	return tcp, udp, nil
}

func addrPort(a psnet.Addr) netip.AddrPort {
	ip, _ := netip.ParseAddr(a.IP) // as the kernel writes it
	return netip.AddrPortFrom(ip, uint16(a.Port))
}

// dialler returns the name of the process that connected from one address to another;
// [Client] if it is none of those named. The kernel is asked for that one socket: its
// table of all is long where many connections have just ended.
func (n *Network) dialler(from, to netip.AddrPort) (string, error) {
	n.mu.Lock()
	pids := maps.Clone(n.pids)
	n.mu.Unlock()
	inode, err := diagnose(from, to)
	if errors.Is(err, unix.ENOENT) {
		return "", fmt.Errorf("nobody is at %s any more: %w", from, err)
	}
	for _, name := range slices.Sorted(maps.Keys(pids)) {
		if err == nil {
			if inodes(pids[name])[inode] {
				return name, nil
			}
			continue
		}
		sockets, _ := psnet.ConnectionsPid("tcp4", int32(pids[name])) // a kernel without that question
		for _, s := range sockets {
			if addrPort(s.Laddr) == from && addrPort(s.Raddr) == to {
				return name, nil
			}
		}
	}
	return Client, nil
}

// Sizes and places in the messages of sock_diag(7): a header, then inet_diag_req_v2, or
// in the answer inet_diag_msg.
const (
	diagRequestBytes = unix.SizeofNlMsghdr + 8 + 48
	diagInode        = unix.SizeofNlMsghdr + 4 + 48 + 16
	diagTime         = 2 // seconds to wait for an answer
)

// diagnose asks the kernel for one socket of TCP. unix.ENOENT: there is none.
func diagnose(from, to netip.AddrPort) (string, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagTime}); err != nil {
		return "", err
	}
	native, network := binary.NativeEndian, binary.BigEndian
	q := make([]byte, diagRequestBytes)
	native.PutUint32(q, diagRequestBytes)
	native.PutUint16(q[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(q[6:], unix.NLM_F_REQUEST)
	r := q[unix.SizeofNlMsghdr:]
	r[0], r[1] = unix.AF_INET, unix.IPPROTO_TCP
	native.PutUint32(r[4:], math.MaxUint32) // in any state
	id := r[8:]
	network.PutUint16(id, from.Port())
	network.PutUint16(id[2:], to.Port())
	source, target := from.Addr().Unmap().As4(), to.Addr().Unmap().As4()
	copy(id[4:], source[:])
	copy(id[20:], target[:])
	native.PutUint64(id[40:], math.MaxUint64) // no cookie
	if err := unix.Sendto(fd, q, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return "", err
	}
	a := make([]byte, os.Getpagesize())
	n, _, err := unix.Recvfrom(fd, a, 0)
	switch {
	case err != nil:
		return "", err
	case n < unix.SizeofNlMsghdr+4:
		return "", io.ErrUnexpectedEOF
	case native.Uint16(a[4:]) == unix.NLMSG_ERROR:
		return "", unix.Errno(-int32(native.Uint32(a[unix.SizeofNlMsghdr:])))
	case n < diagInode+4:
		return "", io.ErrUnexpectedEOF
	}
	return strconv.FormatUint(uint64(native.Uint32(a[diagInode:])), 10), nil
}
