// Package fault does harm to processes, to the connections between them and to
// their files, without privileges. It knows neither Raft nor kvnode, but for the
// messages that it forges.
//
// A [Network] stands between processes on this machine: each listens where the
// system lets it, tells the others the address of a [Door], and all that is sent to
// the door passes through here. Who has made a connection is looked up in /proc, so
// a link can be cut or slowed one way between two of them, whatever they say on it.
//
// It works on Linux only.
package fault
