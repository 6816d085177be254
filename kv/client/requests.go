package client

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/kv/api"
)

// Consistency is what a read promises; docs/http-api.md has the fine print.
type Consistency string

// The levels. The zero value is Linearizable.
const (
	Linearizable Consistency = api.Linearizable // sees every write acknowledged before it began
	Leader       Consistency = api.Leader       // the same as long as the leader's clock is sane
	Stale        Consistency = api.Stale        // what the asked node holds
)

// Value is what a key holds.
type Value struct {
	Data  []byte // the caller's own
	Index uint64 // log index of the key's last change
}

// Pair is a key and its value.
type Pair struct {
	Key string
	Value
}

// Page is some of the keys, in order.
type Page struct {
	Pairs []Pair
	Next  string // give it as after to get the next page; empty: this is the last one
}

// Get returns what the key holds; a [ErrNotFound] if there is no such key.
func (c *Client) Get(ctx context.Context, key string, level Consistency) (Value, error) {
	return get(ctx, c.do, key, level)
}

// Scan returns a page of the keys that begin with prefix and come after the key
// after, "" for the beginning. A limit of 0 means [api.DefaultPageLimit]; at most
// [api.MaxPageLimit] is allowed.
func (c *Client) Scan(ctx context.Context, prefix, after string, limit int, level Consistency) (Page, error) {
	return scan(ctx, c.do, prefix, after, limit, level)
}

// send is Client.do, or Client.doAt of one node.
type send func(context.Context, call) (answer, error)

func get(ctx context.Context, send send, key string, level Consistency) (Value, error) {
	path, err := keyPath(key)
	if err != nil {
		return Value{}, fmt.Errorf("get: %w", err)
	}
	a, err := send(ctx, call{
		method: http.MethodGet,
		path:   path,
		query:  url.Values{"consistency": {string(level.orDefault())}},
		header: http.Header{"Accept": {"application/octet-stream"}},
		leader: level != Stale,
	})
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound && e.Code == "" && e.Node != "" {
		return Value{}, fmt.Errorf("get %.40q: %w", key, ErrNotFound)
	}
	if err != nil {
		return Value{}, fmt.Errorf("get %.40q: %w", key, err)
	}
	return Value{Data: a.body, Index: indexOf(a.header)}, nil
}

func scan(ctx context.Context, send send, prefix, after string, limit int, level Consistency) (Page, error) {
	query := url.Values{"consistency": {string(level.orDefault())}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if after != "" {
		query.Set("after", after)
	}
	if limit != 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	a, err := send(ctx, call{method: http.MethodGet, path: "/key", query: query, leader: level != Stale})
	if err != nil {
		return Page{}, fmt.Errorf("scan %.40q: %w", prefix, err)
	}
	page, err := decodePage(a.body)
	if err != nil {
		return Page{}, fmt.Errorf("scan %.40q: answer of %s: %w", prefix, a.endpoint, err)
	}
	return page, nil
}

func (l Consistency) orDefault() Consistency { return cmp.Or(l, Linearizable) }

func decodePage(body []byte) (Page, error) {
	var wire api.Page
	if err := json.Unmarshal(body, &wire); err != nil {
		return Page{}, err
	}
	page := Page{Pairs: make([]Pair, len(wire.Pairs))}
	for i, w := range wire.Pairs {
		key, err := plainOr64([]byte(w.Key), w.KeyBase64)
		if err != nil {
			return Page{}, fmt.Errorf("key %d: %w", i, err)
		}
		value, err := plainOr64([]byte(w.Value), w.ValueBase64)
		if err != nil {
			return Page{}, fmt.Errorf("value of %.40q: %w", key, err)
		}
		page.Pairs[i] = Pair{Key: string(key), Value: Value{Data: value, Index: w.Index}}
	}
	if wire.Next != "" && len(page.Pairs) > 0 {
		page.Next = page.Pairs[len(page.Pairs)-1].Key // what Next says, without its escapes
	}
	return page, nil
}

func plainOr64(plain []byte, encoded string) ([]byte, error) {
	if encoded == "" {
		return plain, nil
	}
	return base64.StdEncoding.DecodeString(encoded)
}

// keyPath returns the escaped path of a key.
func keyPath(key string) (string, error) {
	if key == "" {
		return "", fmt.Errorf("%w key: it is empty; keys have at least one byte", ErrInvalid)
	}
	return "/key/" + escape(key), nil
}

// escape percent-encodes every byte but letters, digits and "-_~". A dot and a
// slash, too: nobody on the way can then take "." and "//" for parts of a path
// that may be tidied up.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~':
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// Set sets the key and returns the log index of the change.
func (c *Client) Set(ctx context.Context, key string, value []byte) (uint64, error) {
	return c.change(ctx, "set", http.MethodPost, key, value, nil)
}

// Delete deletes the key, which need not be there, and returns the log index of
// the change.
func (c *Client) Delete(ctx context.Context, key string) (uint64, error) {
	return c.change(ctx, "delete", http.MethodDelete, key, nil, nil)
}

// CompareAndSet sets the key if its last change was at ifIndex: the Index of a
// [Value], or what an earlier write returned. Otherwise the error is a
// *[ConditionError].
func (c *Client) CompareAndSet(ctx context.Context, key string, value []byte, ifIndex uint64) (uint64, error) {
	return c.change(ctx, "compare and set", http.MethodPost, key, value, ifMatch(ifIndex))
}

// SetIfAbsent sets the key if there is none. Otherwise the error is a
// *[ConditionError].
func (c *Client) SetIfAbsent(ctx context.Context, key string, value []byte) (uint64, error) {
	return c.change(ctx, "set if absent", http.MethodPost, key, value, http.Header{"If-None-Match": {"*"}})
}

// DeleteIf deletes the key if its last change was at ifIndex. Otherwise the error
// is a *[ConditionError].
func (c *Client) DeleteIf(ctx context.Context, key string, ifIndex uint64) (uint64, error) {
	return c.change(ctx, "delete if", http.MethodDelete, key, nil, ifMatch(ifIndex))
}

func ifMatch(index uint64) http.Header {
	return http.Header{"If-Match": {fmt.Sprintf(`"%d"`, index)}}
}

func (c *Client) change(ctx context.Context, op, method, key string, value []byte, header http.Header) (uint64, error) {
	path, err := keyPath(key)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	index, err := c.commit(ctx, call{method: method, path: path, header: header, body: value})
	var e *Error
	if errors.As(err, &e) && e.Code == api.CodeConditionFailed {
		err = fmt.Errorf("%w: %w", &ConditionError{Key: key, Index: e.Index}, err)
	}
	if err != nil {
		return 0, fmt.Errorf("%s %.40q: %w", op, key, err)
	}
	return index, nil
}

// SetAll sets all keys in one log entry, all or none, and returns its index. Keys
// and values have to be valid UTF-8.
func (c *Client) SetAll(ctx context.Context, pairs map[string][]byte) (uint64, error) {
	wire := make(map[string]string, len(pairs))
	for key, value := range pairs {
		if key == "" || !utf8.ValidString(key) || !utf8.Valid(value) {
			return 0, fmt.Errorf("set all: %w key or value of %.40q: a batch takes UTF-8 only and no empty key; use Set",
				ErrInvalid, key)
		}
		wire[key] = string(value)
	}
	k, err := jsonCall(http.MethodPost, "/key", wire)
	if err != nil {
		return 0, failed("set all", err)
	}
	index, err := c.commit(ctx, k)
	return index, failed("set all", err)
}

// jsonCall returns a call with body in JSON.
func jsonCall(method, path string, body any) (call, error) {
	encoded, err := json.Marshal(body)
	return call{method: method, path: path, body: encoded, header: http.Header{"Content-Type": {"application/json"}}}, err
}

// commit sends a write and returns the index of its entry. A success without one
// comes from another server than a kvnode.
func (c *Client) commit(ctx context.Context, k call) (uint64, error) {
	k.write, k.leader = true, true
	a, err := c.do(ctx, k)
	if err != nil {
		return 0, err
	}
	index, err := strconv.ParseUint(a.header.Get(api.HeaderIndex), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s answered success without a valid %s", ErrOutcomeUnknown, a.endpoint, api.HeaderIndex)
	}
	return index, nil
}

// Status returns what the leader knows of the group, or, if it cannot be asked,
// another node, if possible one that knows a leader. A leader's answer tells how far
// the followers are.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	knowsNobody := func(s api.Status) bool { return s.Leader == nil }
	return fetch[api.Status](ctx, c.do, "status", call{method: http.MethodGet, path: "/status", leader: true, vacant: vacant(knowsNobody)})
}

// Members returns the configuration of the group; none if no node that answers belongs
// to one.
func (c *Client) Members(ctx context.Context) ([]api.Member, error) {
	none := func(m api.Members) bool { return len(m.Members) == 0 }
	m, err := fetch[api.Members](ctx, c.do, "members", call{method: http.MethodGet, path: "/members", leader: true, vacant: vacant(none)})
	return m.Members, err
}

// vacant judges an answer in JSON. One that cannot be read is for fetch to refuse.
func vacant[T any](is func(T) bool) func(body []byte) bool {
	return func(body []byte) bool {
		var v T
		return json.Unmarshal(body, &v) == nil && is(v)
	}
}

// Join adds the member, or changes its addresses or voting right if it is one.
func (c *Client) Join(ctx context.Context, member api.Join) error {
	k, err := jsonCall(http.MethodPost, "/join", member)
	return c.administer(ctx, "join "+member.ID, k, err)
}

// Remove removes the member; a [ErrNotFound] if there is none of that id.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.administer(ctx, "remove "+id, call{method: http.MethodDelete, path: "/members/" + escape(id)}, nil)
}

// Transfer hands leadership to the voter id, or, where id is empty, to the most
// up-to-date one.
func (c *Client) Transfer(ctx context.Context, id string) error {
	k, err := jsonCall(http.MethodPost, "/transfer", api.Transfer{ID: id})
	return c.administer(ctx, "transfer leadership", k, err)
}

func (c *Client) administer(ctx context.Context, op string, k call, err error) error {
	if k.write, k.leader = true, true; err == nil {
		_, err = c.do(ctx, k)
	}
	return failed(op, err)
}

// fetch sends a call that is answered in JSON.
func fetch[T any](ctx context.Context, send send, op string, k call) (T, error) {
	var v, none T
	a, err := send(ctx, k)
	if err != nil {
		return none, fmt.Errorf("%s: %w", op, err)
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		return none, fmt.Errorf("%s: answer of %s: %w", op, a.endpoint, err)
	}
	return v, nil
}

// Node is one particular node. A call goes to it once, and nowhere else. Safe
// for concurrent use; it lives as long as its Client.
type Node struct {
	client  *Client
	address string
	err     error // of the address, told by every call
}

// Node returns the node at the endpoint, host:port or http://host:port, which
// need not be one of the client's own.
func (c *Client) Node(endpoint string) *Node {
	address, err := parseEndpoint(endpoint)
	if err != nil {
		return &Node{client: c, address: endpoint, err: err}
	}
	return &Node{client: c, address: address}
}

// Nodes returns the nodes at all endpoints that New was given.
func (c *Client) Nodes() []*Node {
	var nodes []*Node
	for _, endpoint := range c.endpoints.given {
		nodes = append(nodes, c.Node(endpoint))
	}
	return nodes
}

// Endpoint returns the node's host:port.
func (n *Node) Endpoint() string { return n.address }

// Get is [Client.Get]. With Stale it returns what this node holds, with
// Linearizable it returns once this node has caught up.
func (n *Node) Get(ctx context.Context, key string, level Consistency) (Value, error) {
	return get(ctx, n.send, key, level)
}

// Scan is [Client.Scan] of this node.
func (n *Node) Scan(ctx context.Context, prefix, after string, limit int, level Consistency) (Page, error) {
	return scan(ctx, n.send, prefix, after, limit, level)
}

// Status returns what the node knows of itself and the group.
func (n *Node) Status(ctx context.Context) (api.Status, error) {
	return fetch[api.Status](ctx, n.send, "status", call{method: http.MethodGet, path: "/status"})
}

// Digest returns the digest of the node's map.
func (n *Node) Digest(ctx context.Context) (api.Digest, error) {
	return fetch[api.Digest](ctx, n.send, "digest", call{method: http.MethodGet, path: "/digest"})
}

// Snapshot has the node write a snapshot and cut its log.
func (n *Node) Snapshot(ctx context.Context) error {
	return n.tell(ctx, "snapshot", call{method: http.MethodPost, path: "/snapshot", write: true})
}

// Leave has the node leave its group for good; then its process ends. It is for
// nodes that gossip.
func (n *Node) Leave(ctx context.Context) error {
	return n.tell(ctx, "leave", call{method: http.MethodPost, path: "/leave", write: true})
}

// Health returns nil if the node's process serves and its store works.
func (n *Node) Health(ctx context.Context) error {
	return n.tell(ctx, "health", call{method: http.MethodGet, path: "/healthz"})
}

// Ready returns nil if the node knows a leader and has caught up.
func (n *Node) Ready(ctx context.Context) error {
	return n.tell(ctx, "ready", call{method: http.MethodGet, path: "/readyz"})
}

func (n *Node) tell(ctx context.Context, op string, k call) error {
	_, err := n.send(ctx, k)
	return failed(op, err)
}

func (n *Node) send(ctx context.Context, k call) (answer, error) {
	if n.err != nil {
		return answer{}, n.err
	}
	return n.client.doAt(ctx, n.address, k)
}

func failed(op string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
