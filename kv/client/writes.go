package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/kv/api"
)

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
	return c.change(ctx, "set if absent", http.MethodPost, key, value, map[string]string{"If-None-Match": "*"})
}

// DeleteIf deletes the key if its last change was at ifIndex. Otherwise the error
// is a *[ConditionError].
func (c *Client) DeleteIf(ctx context.Context, key string, ifIndex uint64) (uint64, error) {
	return c.change(ctx, "delete if", http.MethodDelete, key, nil, ifMatch(ifIndex))
}

func ifMatch(index uint64) map[string]string {
	return map[string]string{"If-Match": fmt.Sprintf(`"%d"`, index)}
}

func (c *Client) change(ctx context.Context, op, method, key string, value []byte, header map[string]string) (uint64, error) {
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
	body, err := json.Marshal(wire)
	if err != nil {
		return 0, fmt.Errorf("set all: %w", err)
	}
	index, err := c.commit(ctx, call{
		method: http.MethodPost,
		path:   "/key",
		header: map[string]string{"Content-Type": "application/json"},
		body:   body,
	})
	if err != nil {
		return 0, fmt.Errorf("set all: %w", err)
	}
	return index, nil
}

// commit sends a write and returns the index of its entry. A success without one
// is no kvnode's.
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
