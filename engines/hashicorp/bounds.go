package hashicorp

import "github.com/hashicorp/raft"

// The library bounds messages and its cache of the log by the number of entries
// only. Entries can be large: without a bound in bytes, a follower that lags
// behind a few of them is sent one message that never gets through in time,
// again and again.
const (
	// maxMessageBytes is how many bytes of commands one AppendEntries carries at
	// most, unless its first entry alone is larger.
	maxMessageBytes = 8 << 20
	// maxCachedBytes is how large an entry that is kept in the log cache may be.
	maxCachedBytes = 256 << 10
)

// trim shortens a message that has not been sent. The library goes on after the
// last entry that is still in it.
func trim(req *raft.AppendEntriesRequest) {
	size := 0
	for i, e := range req.Entries {
		size += len(e.Data)
		if i > 0 && size > maxMessageBytes {
			req.Entries = req.Entries[:i]
			return
		}
	}
}

// boundedPipeline trims what is sent, and says for whom it is.
type boundedPipeline struct {
	raft.AppendPipeline
	to raft.ServerID
}

// AppendEntries implements raft.AppendPipeline.
func (p boundedPipeline) AppendEntries(req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	trim(req)
	req.RPCHeader = addressed(req.RPCHeader, p.to)
	return p.AppendPipeline.AppendEntries(req, resp)
}

// boundedCache is a log cache that large entries go round. An index is stored
// anew only after a DeleteRange, which empties the cache, so it never has another
// entry for one that went round.
type boundedCache struct {
	*raft.LogCache
	store raft.LogStore
}

// StoreLog implements raft.LogStore.
func (c boundedCache) StoreLog(entry *raft.Log) error { return c.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements raft.LogStore.
func (c boundedCache) StoreLogs(entries []*raft.Log) error {
	for _, e := range entries {
		if len(e.Data) > maxCachedBytes {
			return c.store.StoreLogs(entries)
		}
	}
	return c.LogCache.StoreLogs(entries)
}
