// Package cluster puts parts together into running groups: an engine, a log
// store, a network and the replicated map make one member; several make a
// group. It never generates load and never measures.
package cluster
