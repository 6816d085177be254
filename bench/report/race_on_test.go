//go:build race

package report

// underRace says that the race detector slows everything down. Nothing in this
// package runs concurrently, so the sweeps over all scenarios leave out the
// large ones then.
const underRace = true
