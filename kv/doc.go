// Package kv is the replicated map: the state machine under raftlab's own
// measurements and under kvnode. It decodes commands, keeps the map, and writes
// and reads snapshots of it. It never talks to the network, the disk or an
// engine; what is committed reaches it through core.FSM.
//
// Keys are any bytes, at least one; values are any bytes. Every entry remembers the
// log index of its last change, by which a later command can be made conditional,
// and the map is ordered by key. Beside it stands a small directory: the HTTP
// address of each member, so that any node can name and reach the leader.
package kv
