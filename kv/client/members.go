package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/themilchenko/raftlab/kv/api"
)

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
	return c.administer(ctx, "join "+member.ID, http.MethodPost, "/join", member)
}

// Remove removes the member; a [ErrNotFound] if there is none of that id.
func (c *Client) Remove(ctx context.Context, id string) error {
	return c.administer(ctx, "remove "+id, http.MethodDelete, "/members/"+escape(id), nil)
}

// Transfer hands leadership to the voter id, or, where id is empty, to the most
// up-to-date one.
func (c *Client) Transfer(ctx context.Context, id string) error {
	return c.administer(ctx, "transfer leadership", http.MethodPost, "/transfer", api.Transfer{ID: id})
}

func (c *Client) administer(ctx context.Context, op, method, path string, body any) error {
	k := call{method: method, path: path, write: true, leader: true}
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		k.body = encoded
		k.header = map[string]string{"Content-Type": "application/json"}
	}
	if _, err := c.do(ctx, k); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
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
