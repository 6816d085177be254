package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

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
		header: map[string]string{"Accept": "application/octet-stream"},
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

func (l Consistency) orDefault() Consistency {
	if l == "" {
		return Linearizable
	}
	return l
}

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
