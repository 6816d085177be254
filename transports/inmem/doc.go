// Package inmem is a network inside one process: it hands Raft's messages over
// as structs, without encoding them. It is the base line of every comparison of
// transports: what is left of the latency once moving bytes costs nothing.
//
// There is no wire, so nothing below the messages can be delayed or cut here,
// and no engine but one that speaks hashicorp/raft's messages can use it. It
// never copies a message: sender and receiver share it, and neither may change
// it (see core.Transport).
package inmem
