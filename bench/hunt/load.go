package hunt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/bench/check"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

const (
	requestTime = 2 * time.Second
	clients     = 4 // through kv/client; and one of plain HTTP for each node
	think       = 8 * time.Millisecond
	// keysAtOnce are used for an epoch; later they are only read. So no key has more
	// operations than can be checked.
	keysAtOnce = 4
	epoch      = time.Second
)

// valueMark begins every value. What follows it is random, so that a flipped bit makes
// no other value.
const valueMark = "value:"

// load is clients that run until it is stopped.
type load struct {
	group   *group
	history *check.History
	stop    context.CancelFunc
	workers sync.WaitGroup
}

func startLoad(ctx context.Context, g *group, seed uint64) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{group: g, history: g.history, stop: cancel}
	for i := range clients + g.cfg.Nodes {
		w := &worker{load: l, name: fmt.Sprintf("c%d", i), node: i - clients, random: rand.New(rand.NewPCG(seed, uint64(1000+i)))}
		if w.node >= 0 {
			w.nodeID = g.nodes[w.node].id
		}
		l.workers.Go(func() { w.run(ctx) })
	}
	return l
}

// end stops the clients and waits for the answers that are out.
func (l *load) end() []check.Op {
	l.stop()
	l.workers.Wait()
	return l.history.Ops()
}

// worker is one client, which has one operation under way at a time.
type worker struct {
	load   *load
	name   string
	node   int    // negative: any
	nodeID string // empty: any
	random *rand.Rand
	writes int
	at     *[]string // the endpoints that its connections are to
	asker  asker
}

// asker carries one operation out and says what became of it.
type asker interface {
	read(ctx context.Context, key string, level check.Level) (value string, index uint64, err error)
	// write sets, or, with an empty value, deletes; condition is an index that the key
	// must have, 0: it must be absent, negative: none.
	write(ctx context.Context, key, value string, condition int64) (index uint64, outcome check.Outcome)
	close()
}

func (w *worker) run(ctx context.Context) {
	defer func() {
		if w.asker != nil {
			w.asker.close()
		}
	}()
	for ctx.Err() == nil {
		w.connect()
		w.next()
		pause(ctx, time.Duration(w.random.Int64N(int64(think))))
	}
}

// connect makes a new client where the nodes have moved.
func (w *worker) connect() {
	endpoints := w.load.group.endpoints.Load()
	if endpoints == w.at {
		return
	}
	if w.asker != nil {
		w.asker.close()
	}
	w.at = endpoints
	if w.node >= 0 {
		w.asker = &plain{endpoint: (*endpoints)[w.node], client: &http.Client{Transport: &http.Transport{}}}
		return
	}
	c, err := client.New(*endpoints, client.Options{})
	w.asker = &library{client: c, broken: err}
}

// next does one operation of the mix, with a deadline of its own: what was sent has to
// be waited for, also where the load ends.
func (w *worker) next() {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	dice := w.random.IntN(100)
	if w.load.group.quiet.Load() {
		dice = 60 + w.random.IntN(40)
	}
	switch {
	case dice < 40:
		w.write(ctx, check.Op{Kind: check.Set, Key: w.key(false)}, -1)
	case dice < 45:
		w.write(ctx, check.Op{Kind: check.Delete, Key: w.key(false)}, -1)
	case dice < 50:
		w.write(ctx, check.Op{Kind: check.CAS, Key: w.key(false)}, 0)
	case dice < 60:
		key := w.key(false)
		if seen, ok := w.read(ctx, key, check.Linearizable); ok && seen.Index > 0 {
			w.write(ctx, check.Op{Kind: check.CAS, Key: key, Expect: seen.Value}, int64(seen.Index))
		}
	case dice < 80:
		w.read(ctx, w.key(true), check.Linearizable)
	default:
		w.read(ctx, w.key(true), check.Lease)
	}
}

// key picks one of the present keys; a read takes a quarter of its keys from before.
func (w *worker) key(reading bool) string {
	now := int(w.load.history.Now() / epoch)
	if reading && w.random.IntN(4) == 0 {
		now = w.random.IntN(now + 1)
	}
	return fmt.Sprintf("k%d-%d", now, w.random.IntN(keysAtOnce))
}

func (w *worker) stamp(o check.Op) check.Op {
	o.Client, o.Node = w.name, w.nodeID
	o.Call = w.load.history.Now()
	return o
}

func (w *worker) read(ctx context.Context, key string, level check.Level) (check.Op, bool) {
	o := w.stamp(check.Op{Kind: check.Get, Key: key, Level: level, Outcome: check.OK})
	var err error
	o.Value, o.Index, err = w.asker.read(ctx, key, level)
	if err != nil {
		o.Outcome = check.Refused
	}
	o.Return = w.load.history.Now()
	w.load.history.Add(o)
	return o, err == nil
}

func (w *worker) write(ctx context.Context, o check.Op, condition int64) {
	if o.Kind != check.Delete {
		w.writes++
		o.Value = fmt.Sprintf("%s%016x%016x:%s-%d", valueMark, w.random.Uint64(), w.random.Uint64(), w.name, w.writes)
	}
	o = w.stamp(o)
	o.Index, o.Outcome = w.asker.write(ctx, o.Key, o.Value, condition)
	o.Return = w.load.history.Now()
	w.load.history.Add(o)
}

// library asks through kv/client.
type library struct {
	client *client.Client
	broken error
}

func (l *library) close() {
	if l.broken == nil {
		l.client.Close()
	}
}

func (l *library) read(ctx context.Context, key string, level check.Level) (string, uint64, error) {
	if l.broken != nil {
		return "", 0, l.broken
	}
	consistency := client.Linearizable
	if level == check.Lease {
		consistency = client.Leader
	}
	v, err := l.client.Get(ctx, key, consistency)
	if errors.Is(err, core.ErrNotFound) {
		return "", 0, nil
	}
	return string(v.Data), v.Index, err
}

func (l *library) write(ctx context.Context, key, value string, condition int64) (index uint64, _ check.Outcome) {
	err := l.broken
	switch {
	case err != nil:
	case value == "":
		index, err = l.client.Delete(ctx, key)
	case condition < 0:
		index, err = l.client.Set(ctx, key, []byte(value))
	case condition == 0:
		index, err = l.client.SetIfAbsent(ctx, key, []byte(value))
	default:
		index, err = l.client.CompareAndSet(ctx, key, []byte(value), uint64(condition))
	}
	switch {
	case err == nil:
		return index, check.OK
	case errors.Is(err, client.ErrCondition):
		return 0, check.ConditionFailed
	case errors.Is(err, core.ErrOutcomeUnknown):
		return 0, check.Unknown
	}
	return 0, check.Refused
}

// plain asks one node over HTTP, as docs/http-api.md says.
type plain struct {
	endpoint string
	client   *http.Client
}

func (p *plain) close() { p.client.CloseIdleConnections() }

func (p *plain) request(ctx context.Context, method, key, query, value string, condition int64) (*http.Response, []byte, error) {
	url := fmt.Sprintf("http://%s/key/%s?timeout=%s%s", p.endpoint, key, requestTime-100*time.Millisecond, query)
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(value))
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/octet-stream")
	r.Header.Set("Content-Type", "application/octet-stream")
	if condition == 0 {
		r.Header.Set("If-None-Match", "*")
	} else if condition > 0 {
		r.Header.Set("If-Match", fmt.Sprintf(`"%d"`, condition))
	}
	response, err := p.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

func (p *plain) read(ctx context.Context, key string, level check.Level) (string, uint64, error) {
	query := ""
	if level == check.Lease {
		query = "&consistency=leader"
	}
	response, body, err := p.request(ctx, http.MethodGet, key, query, "", -1)
	switch {
	case err != nil:
		return "", 0, err
	case response.StatusCode == http.StatusOK:
		index, _ := strconv.ParseUint(strings.Trim(response.Header.Get("ETag"), `"`), 10, 64)
		return string(body), index, nil
	case response.StatusCode == http.StatusNotFound && !bytes.Contains(body, []byte(`"code"`)):
		return "", 0, nil
	}
	return "", 0, fmt.Errorf("%d %s", response.StatusCode, body)
}

func (p *plain) write(ctx context.Context, key, value string, condition int64) (uint64, check.Outcome) {
	method := http.MethodPut
	if value == "" {
		method = http.MethodDelete
	}
	response, body, err := p.request(ctx, method, key, "", value, condition)
	if response == nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return 0, check.Refused
		}
		return 0, check.Unknown
	}
	var e api.Error
	switch {
	case response.StatusCode == http.StatusOK:
		index, _ := strconv.ParseUint(response.Header.Get("X-Raft-Index"), 10, 64)
		return index, check.OK
	case err != nil || json.Unmarshal(body, &e) != nil || e.Code == "" || e.Code == api.CodeOutcomeUnknown:
		return 0, check.Unknown
	case e.Code == api.CodeConditionFailed:
		return 0, check.ConditionFailed
	}
	return 0, check.Refused
}
