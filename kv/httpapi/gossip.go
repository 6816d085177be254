package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
	"github.com/themilchenko/raftlab/kv/api"
)

// Gossip is what a node has heard of the others by asking around, and what that
// has cost; *gossip.Agent is one.
type Gossip interface {
	Peers() []discovery.Peer
	Stats() gossip.Stats
}

// gossip lists what gossip knows of all nodes, in the order of their ids.
func (s *Server) gossip() []api.GossipPeer {
	if s.cfg.Gossip == nil {
		return nil
	}
	var peers []api.GossipPeer
	for _, p := range s.cfg.Gossip.Peers() {
		peers = append(peers, api.GossipPeer{
			Peer:          api.Peer{ID: p.ID, Incarnation: p.Incarnation, Address: p.RaftAddress, HTTPAddress: p.HTTPAddress},
			GossipAddress: p.GossipAddress,
			State:         string(p.State),
			Since:         p.Since,
			Voter:         p.Voter,
		})
	}
	return peers
}

// gossips says whether the node id is alive to gossip, so that it would be added
// again as soon as it was removed.
func (s *Server) gossips(id string) bool {
	if s.cfg.Gossip == nil {
		return false
	}
	for _, p := range s.cfg.Gossip.Peers() {
		if p.ID == id {
			return p.State == discovery.Alive
		}
	}
	return false
}

// leave is POST /leave. It is the node that is asked that leaves, so nothing is
// forwarded.
func (s *Server) leave(ctx context.Context, _ *request) (answer, error) {
	if s.cfg.Leave == nil {
		return answer{}, badRequest("node %s does not gossip, so it cannot leave by itself: remove it with DELETE /members/%s",
			s.id, url.PathEscape(s.id))
	}
	err := s.cfg.Leave(ctx)
	switch {
	case errors.Is(err, core.ErrInvalid):
		return answer{}, badRequest("%v", err)
	case errors.Is(err, core.ErrUnavailable):
		return answer{}, unavailable(api.CodeNotReady, "%v", err)
	}
	return done(err)
}

// Waiting returns the handler of the node id while its replica does not run yet:
// /healthz is 200, all else an [api.CodeNotReady] with what why returns. why is
// called concurrently.
func Waiting(id string, why func() string) http.Handler {
	var limits Limits
	_ = limits.setDefaults() // there is nothing to refuse
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := answer{status: http.StatusOK}
		if r.URL.Path != "/healthz" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			var p *problem
			errors.As(unavailable(api.CodeNotReady, "node %s belongs to no group yet: %s", id, why()), &p)
			a = p.answer()
		}
		write(w, r, id, a, &limits)
	})
}

// gossipCollector reads what gossip knows when metrics are scraped.
type gossipCollector struct {
	from                   Gossip
	messages, bytes, peers *prometheus.Desc
}

func newGossipCollector(from Gossip) *gossipCollector {
	return &gossipCollector{
		from: from,
		messages: prometheus.NewDesc("raftlab_gossip_messages_total",
			"Packets and streams of gossip since the start.", []string{"direction"}, nil),
		bytes: prometheus.NewDesc("raftlab_gossip_bytes_total",
			"Bytes of gossip since the start, without the headers of UDP and TCP.", []string{"direction"}, nil),
		peers: prometheus.NewDesc("raftlab_gossip_peers",
			"Nodes that gossip knows, this one included, by state.", []string{"state"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *gossipCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.messages, c.bytes, c.peers} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *gossipCollector) Collect(to chan<- prometheus.Metric) {
	stats := c.from.Stats()
	for direction, t := range map[string]gossip.Traffic{"sent": stats.Sent, "received": stats.Received} {
		to <- prometheus.MustNewConstMetric(c.messages, prometheus.CounterValue, float64(t.Messages()), direction)
		to <- prometheus.MustNewConstMetric(c.bytes, prometheus.CounterValue, float64(t.Bytes()), direction)
	}
	count := map[discovery.State]int{discovery.Alive: 0, discovery.Failed: 0, discovery.Left: 0} // there also at 0
	for _, p := range c.from.Peers() {
		count[p.State]++
	}
	for state, n := range count {
		to <- prometheus.MustNewConstMetric(c.peers, prometheus.GaugeValue, float64(n), string(state))
	}
}
