package client

import (
	"context"
	"fmt"
	"net/http"

	"github.com/themilchenko/raftlab/kv/api"
)

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
	_, err := n.send(ctx, call{method: http.MethodPost, path: "/snapshot", write: true})
	return failed("snapshot", err)
}

// Leave has the node leave its group for good; then its process ends. It is for
// nodes that gossip.
func (n *Node) Leave(ctx context.Context) error {
	_, err := n.send(ctx, call{method: http.MethodPost, path: "/leave", write: true})
	return failed("leave", err)
}

// Health returns nil if the node's process serves and its store works.
func (n *Node) Health(ctx context.Context) error {
	_, err := n.send(ctx, call{method: http.MethodGet, path: "/healthz"})
	return failed("health", err)
}

// Ready returns nil if the node knows a leader and has caught up.
func (n *Node) Ready(ctx context.Context) error {
	_, err := n.send(ctx, call{method: http.MethodGet, path: "/readyz"})
	return failed("ready", err)
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
