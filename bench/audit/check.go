package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	defaultPatience = 30 * time.Second
	pollMin         = 20 * time.Millisecond
	pollMax         = 500 * time.Millisecond
	maxPageBytes    = 1 << 20 // of values, about
)

// CheckOptions of Check. The zero value is fit for use.
type CheckOptions struct {
	// Patience is how long a node may take to catch up, and to answer again if
	// it does not at first; 0: 30 s.
	Patience time.Duration
}

// Check reads every key of the journal from each of the nodes, which should be
// all of the group, and once from the group as a linearizable read, and returns
// what is not as it has to be. Nobody else may write in the meantime.
//
// First each node has to serve a linearizable read, so that it has applied all
// that was acknowledged, and then to have the same map as the others; if they do
// not come to agree, that is a finding, too. After that the nodes are read
// without asking the leader. A node that does not answer is an error, and nothing
// is found then.
func Check(ctx context.Context, c *client.Client, j *Journal, nodes []*client.Node, o CheckOptions) (Findings, error) {
	o.Patience = cmp.Or(o.Patience, defaultPatience)
	if len(nodes) == 0 || o.Patience < 0 {
		return Findings{}, fmt.Errorf("check: %w: %d nodes, patience %v", core.ErrInvalid, len(nodes), o.Patience)
	}
	k := &check{journal: j, keys: slices.Sorted(maps.Keys(j.fates)), patience: o.Patience}
	k.findings.Keys = len(k.keys)
	if err := k.catchUp(ctx, nodes); err != nil {
		return Findings{}, fmt.Errorf("check: %w", err)
	}
	if err := k.agree(ctx, nodes); err != nil {
		return Findings{}, fmt.Errorf("check: %w", err)
	}
	views := []view{{"group", c, client.Linearizable}}
	for _, n := range nodes {
		views = append(views, view{n.Endpoint(), n, client.Stale})
	}
	for i, v := range views {
		taken, err := k.read(ctx, v)
		if err != nil {
			return Findings{}, fmt.Errorf("check: %s: %w", v.name, err)
		}
		if i == 0 {
			k.findings.UnknownTaken = len(taken)
		}
	}
	for _, f := range j.fates {
		if f.unknown != nil {
			k.findings.Unknown++
		}
	}
	return k.findings, nil
}

// check is one run of Check.
type check struct {
	journal  *Journal
	keys     []string // of the journal, in order
	patience time.Duration
	findings Findings
}

// view is one way to look at the map.
type view struct {
	name string
	mapReader
	level client.Consistency
}

// mapReader is a *client.Client or a *client.Node.
type mapReader interface {
	Get(ctx context.Context, key string, level client.Consistency) (client.Value, error)
	Scan(ctx context.Context, prefix, after string, limit int, level client.Consistency) (client.Page, error)
}

// catchUp returns once every node has applied all that was acknowledged before.
func (k *check) catchUp(ctx context.Context, nodes []*client.Node) error {
	for _, n := range nodes {
		err := k.persist(ctx, func(ctx context.Context) error {
			// The key need not be there: it is the asking that makes it wait.
			_, err := n.Get(ctx, k.journal.Prefix, client.Linearizable)
			if errors.Is(err, core.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s has not caught up: %w", n.Endpoint(), err)
		}
	}
	return nil
}

// agree waits until all nodes have the same map. That they do not in time is a
// finding.
func (k *check) agree(ctx context.Context, nodes []*client.Node) error {
	var differ []api.Digest // of all nodes, when they were last asked in full
	err := k.persist(ctx, func(ctx context.Context) error {
		digests := make([]api.Digest, len(nodes))
		same := true
		for i, n := range nodes {
			var err error
			if digests[i], err = n.Digest(ctx); err != nil {
				return err
			}
			same = same && digests[i].SHA256 == digests[0].SHA256
		}
		if same {
			return nil
		}
		differ = digests
		return errors.New("the maps differ")
	})
	if err == nil || ctx.Err() != nil || differ == nil {
		return err
	}
	for i, d := range differ {
		if d.SHA256 != differ[0].SHA256 {
			k.findings.add(Finding{
				Kind:   Diverged,
				Node:   nodes[i].Endpoint(),
				Wanted: describe(differ[0]) + " as on " + nodes[0].Endpoint(),
				Got:    describe(d),
			})
		}
	}
	return nil
}

func describe(d api.Digest) string {
	return fmt.Sprintf("%d keys after %d commands, SHA-256 %.16s", d.Keys, d.Commands, d.SHA256)
}

// read compares all keys as v shows them with the journal. It returns the keys
// whose unknown write is there.
func (k *check) read(ctx context.Context, v view) (map[string]bool, error) {
	k.findings.Nodes = append(k.findings.Nodes, v.name)
	taken := make(map[string]bool)
	rest := k.keys
	for after, more := "", true; more; {
		page, err := k.page(ctx, v, after)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Pairs { // both are in order
			for len(rest) > 0 && rest[0] < p.Key {
				k.compare(v, rest[0], nil, taken)
				rest = rest[1:]
			}
			if len(rest) > 0 && rest[0] == p.Key {
				rest = rest[1:]
			}
			k.compare(v, p.Key, p.Data, taken)
		}
		after, more = page.Next, page.Next != ""
	}
	for _, key := range rest {
		k.compare(v, key, nil, taken)
	}
	return taken, k.batches(ctx, v, taken)
}

func (k *check) page(ctx context.Context, v view, after string) (client.Page, error) {
	limit := min(max(maxPageBytes/k.journal.ValueBytes, 1), api.MaxPageLimit)
	var page client.Page
	err := k.persist(ctx, func(ctx context.Context) (err error) {
		page, err = v.Scan(ctx, k.journal.Prefix, after, limit, v.level)
		return err
	})
	if err != nil {
		return client.Page{}, err
	}
	for _, p := range page.Pairs {
		if p.Key <= after {
			return client.Page{}, fmt.Errorf("scan: key %.40q comes after %.40q: the page is out of order", p.Key, after)
		}
		after = p.Key
	}
	return page, nil
}

// compare judges one key and notes in taken whether its unknown write is there.
func (k *check) compare(v view, key string, value []byte, taken map[string]bool) {
	f, ok := k.journal.fates[key]
	if !ok {
		f = &fate{} // nobody wrote to it
	}
	seq, finding := f.judge(key, value)
	if finding != nil {
		finding.Node = v.name
		k.findings.add(*finding)
	}
	if f.unknown.sets(seq) || value == nil && f.unknown.removes(f.acknowledged) {
		taken[key] = true
	}
}

// batches looks whether the unknown batches are there as a whole or not at all.
// One may have taken effect while the keys were read; what was missing is there
// then if it is read again.
func (k *check) batches(ctx context.Context, v view, taken map[string]bool) error {
	for _, w := range k.journal.doubt {
		missing := slices.DeleteFunc(slices.Clone(w.keys), func(key string) bool { return taken[key] })
		if len(missing) == len(w.keys) {
			continue
		}
		for _, key := range missing {
			there, err := k.holds(ctx, v, key, w.seq)
			if err != nil {
				return err
			}
			if !there {
				k.findings.add(Finding{
					Kind:   Torn,
					Node:   v.name,
					Key:    key,
					Wanted: fmt.Sprintf("write %d, which other keys of its batch have", w.seq),
					Got:    "not that write",
				})
			}
		}
	}
	return nil
}

func (k *check) holds(ctx context.Context, v view, key string, seq uint64) (bool, error) {
	var value client.Value
	err := k.persist(ctx, func(ctx context.Context) (err error) {
		value, err = v.Get(ctx, key, v.level)
		if errors.Is(err, core.ErrNotFound) {
			value = client.Value{}
			return nil
		}
		return err
	})
	if err != nil {
		return false, err
	}
	whose, got, err := decodeValue(value.Data)
	return err == nil && whose == key && got == seq, nil
}

// persist calls f until it succeeds or the patience is at its end, and returns
// its last error then.
func (k *check) persist(ctx context.Context, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, k.patience)
	defer cancel()
	for wait := pollMin; ; wait = min(2*wait, pollMax) {
		err := f(limited)
		if err == nil || errors.Is(err, core.ErrInvalid) {
			return err
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("%w: %w", ctx.Err(), err)
			}
			return err
		case <-time.After(wait):
		}
	}
}

// Kind is what is wrong with a key on a node.
type Kind string

// The kinds.
const (
	Lost     Kind = "lost"     // an acknowledged write is not there, nor is an older one
	Stale    Kind = "stale"    // what is there was replaced or deleted by an acknowledged write
	Refused  Kind = "refused"  // a write that was refused has taken effect
	Foreign  Kind = "foreign"  // what is there was never written to this key
	Corrupt  Kind = "corrupt"  // what is there is no whole value
	Torn     Kind = "torn"     // a part of a batch has taken effect
	Diverged Kind = "diverged" // the node's map is not that of the others; there is no key
)

// maxFindings is how many findings are listed.
const maxFindings = 1000

// Finding is one thing that no outcome of the unknown writes explains.
type Finding struct {
	Kind   Kind
	Node   string // endpoint; "group" for the linearizable read
	Key    string
	Wanted string
	Got    string
}

// String returns the finding as one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s on %s: wanted %s, got %s", f.Kind, f.Key, f.Node, f.Wanted, f.Got)
}

// Findings is the outcome of a check.
type Findings struct {
	Nodes []string // that were read, and "group"
	Keys  int      // of the load, on each of Nodes

	// Unknown is how many keys have a write of unknown outcome; UnknownTaken how
	// many of these the linearizable read has seen take effect.
	Unknown      int
	UnknownTaken int

	Total int       // findings
	List  []Finding // the first 1000 of them
}

// OK reports whether nothing is wrong.
func (f Findings) OK() bool { return f.Total == 0 }

func (f *Findings) add(list ...Finding) {
	f.Total += len(list)
	f.List = append(f.List, list[:min(len(list), maxFindings-len(f.List))]...)
}

// judge compares what a node holds under key, nil if nothing, with the key's
// fate. It returns the number of the write that is there, 0 if none or not known,
// and what is wrong, if anything is.
func (f *fate) judge(key string, value []byte) (uint64, *Finding) {
	wrong := func(kind Kind, got string) *Finding {
		return &Finding{Kind: kind, Key: key, Wanted: f.wanted(), Got: got}
	}
	if value == nil {
		if f.acknowledged == nil || f.acknowledged.deletes || f.unknown != nil && f.unknown.deletes {
			return 0, nil
		}
		return 0, wrong(Lost, "no key")
	}
	whose, seq, err := decodeValue(value)
	got := fmt.Sprintf("write %d", seq)
	switch {
	case err != nil:
		return 0, wrong(Corrupt, err.Error())
	case whose != key:
		return 0, wrong(Foreign, fmt.Sprintf("%s of key %s", got, whose))
	case f.acknowledged.sets(seq), f.unknown.sets(seq):
		return seq, nil
	case slices.Contains(f.refused, seq):
		return seq, wrong(Refused, got)
	case f.acknowledged != nil && seq < f.acknowledged.seq:
		return seq, wrong(Stale, got)
	}
	return seq, wrong(Foreign, got+", which nobody sent")
}

// sets reports whether w is the write seq and leaves a value.
func (w *write) sets(seq uint64) bool { return w != nil && !w.deletes && w.seq == seq }

// removes reports whether w deletes the key that before has left there.
func (w *write) removes(before *write) bool {
	return w != nil && w.deletes && before != nil && !before.deletes
}

func (w *write) String() string {
	if w.deletes {
		return fmt.Sprintf("no key (deleted by write %d)", w.seq)
	}
	return fmt.Sprintf("write %d", w.seq)
}

// wanted says what may be there.
func (f *fate) wanted() string {
	s := "no key (no write was acknowledged)"
	if f.acknowledged != nil {
		s = f.acknowledged.String()
		if f.acknowledged.index != 0 {
			s += fmt.Sprintf(" acknowledged at index %d", f.acknowledged.index)
		}
	}
	if f.unknown != nil {
		s += fmt.Sprintf(", or %s whose outcome is unknown", f.unknown)
	}
	return s
}
