package fault

import (
	"encoding/binary"
	"io"
	"math"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

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
