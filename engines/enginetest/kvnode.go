package enginetest

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/themilchenko/raftlab/engines/program"
)

// Kvnode is the program kvnode with an engine and log store of its own, as a subject: it has
// other flags, and an interface over HTTP, by which members join the first one. more are
// further flags.
func Kvnode(path, engine string, more ...string) Subject {
	return Subject{Name: "kvnode with " + engine, Path: path, Arguments: func(s *program.Spec, _ string) []string {
		args := append([]string{"--engine", engine, "--profile", "local", "--request-timeout", "5s",
			"--id", s.ID, "--raddr", s.Raft, "--resp", s.RESP, "--haddr", beside(s.RESP)}, more...)
		for _, key := range slices.Sorted(maps.Keys(s.Settings)) {
			args = append(args, "--raft-option", key+"="+s.Settings[key])
			if key == "heartbeat_timeout" { // the others follow it, which is what the page says of it
				args = append(args, "--raft-option", "election_timeout="+s.Settings[key], "--raft-option", "leader_lease_timeout="+s.Settings[key])
			}
		}
		for _, m := range s.Members {
			if m.ID == s.ID {
				args = append(args, "--transport-option", "advertise="+m.At)
			}
		}
		if first := s.RESPMembers[0]; first.ID != s.ID {
			args = append(args, "--join", beside(first.At))
		}
		return append(args, s.Dir)
	}}
}

// beside is the address of HTTP, 100 ports above that of the Redis protocol. What is no
// address stays none.
func beside(resp string) string {
	host, port, err := net.SplitHostPort(resp)
	n, numErr := strconv.Atoi(port)
	if err != nil || numErr != nil {
		return resp
	}
	return net.JoinHostPort(host, fmt.Sprint(n+respPorts))
}
