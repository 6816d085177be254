// Package httpapi is the HTTP interface of one kvnode: docs/http-api.md, served on
// top of a core.Replica and its kv.Store. It checks requests, finds the leader,
// forwards what only the leader can do, and answers.
//
// It never decides about consistency by itself: a write is answered when the
// replica says that it is applied, a read when the replica says that the map is
// fresh enough. It never listens, and never starts or stops the replica; both are
// the caller's.
//
// What may be tried again is tried again within a request's deadline: a read
// always, a write as long as it is certain that nobody has taken it. A write whose
// fate is not known is never sent a second time.
package httpapi
