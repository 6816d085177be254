// Package hashicorp makes a core.Replica of hashicorp/raft, unmodified, through
// its plug-in points: log store, state machine, transport, logger. It never
// patches the library and never measures anything.
//
// What it adds to the library:
//
//   - Contexts: a caller that gives up gets core.ErrOutcomeUnknown at once.
//   - Linearizable reads by ReadIndex (see barrier.go): the library's own
//     Barrier writes a log entry per read.
//   - Fail-stop (see guard.go): a log store that cannot write stops the replica,
//     where the library would panic or go on.
//   - One sink for all log lines, quiet by default.
package hashicorp
