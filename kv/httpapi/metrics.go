package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/discovery"
	"github.com/themilchenko/raftlab/discovery/gossip"
)

// What became of a request that was sent on to another node.
const (
	forwardAnswered    = "answered"
	forwardRefused     = "refused"     // the other does not lead, or stops
	forwardUnreachable = "unreachable" // nothing was sent
	forwardLost        = "lost"        // sent, and no answer came
)

// metrics are those of one server, in a registry of its own.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	forwarded *prometheus.CounterVec
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "raftlab_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route", "code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "raftlab_http_requests_in_flight",
			Help: "Requests that are being served.",
		}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "raftlab_http_forwarded_requests_total",
			Help: "Requests sent to the leader on behalf of a client, by what became of them.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{forwardAnswered, forwardRefused, forwardUnreachable, forwardLost} {
		m.forwarded.WithLabelValues(outcome) // so that it is there at 0
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "raftlab_http_held_bytes",
		Help: "Memory for bodies and answers of the requests that are being served.",
	}, func() float64 { return float64(s.budget.held.Load()) })
	m.registry.MustRegister(m.requests, m.inFlight, m.forwarded, held, newNodeCollector(s.cfg),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.cfg.Gossip != nil {
		m.registry.MustRegister(newGossipCollector(s.cfg.Gossip))
	}
	return m
}

// observe counts one request. Labels have few values, whatever a client sends.
func (m *metrics) observe(method, pattern string, status int, took time.Duration) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(method, pattern, strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

// scrape answers with all metrics, in the format that the request asks for.
func (m *metrics) scrape(r *http.Request) (answer, error) {
	w := &recorder{answer{status: http.StatusOK, header: http.Header{}}}
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	return w.answer, nil
}

// recorder makes an answer of what an http.Handler writes.
type recorder struct{ answer answer }

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.answer.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) { w.answer.status = status }

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	w.answer.body = append(w.answer.body, b...)
	return len(b), nil
}

// nodeCollector reads the node's state when metrics are scraped.
type nodeCollector struct {
	cfg Config

	info, leader, term, peerLag, contact           *prometheus.Desc
	lastIndex, commitIndex, applied, snapshotIndex *prometheus.Desc
	keys, commands, refused, syncs, stalled        *prometheus.Desc
}

func newNodeCollector(cfg Config) *nodeCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("raftlab_"+name, help, labels, nil)
	}
	return &nodeCollector{
		cfg:           cfg,
		info:          desc("node_info", "What the node runs; always 1.", "id", "version", "store", "durability", "transport"),
		leader:        desc("raft_is_leader", "1 on the leader, 0 elsewhere."),
		term:          desc("raft_term", "Current term."),
		lastIndex:     desc("raft_last_index", "Newest entry in the log."),
		commitIndex:   desc("raft_commit_index", "Newest entry known to be committed."),
		applied:       desc("raft_applied_index", "Newest entry that the map has taken in."),
		snapshotIndex: desc("raft_snapshot_index", "Newest entry that the last snapshot covers."),
		peerLag:       desc("raft_peer_lag_entries", "Entries that a follower is behind the leader's log; on the leader.", "id"),
		contact:       desc("raft_last_contact_seconds", "Time since a follower last heard from the leader; not on the leader."),
		keys:          desc("kv_keys", "Keys in the map."),
		commands:      desc("kv_commands_total", "Commands applied since the beginning of the log."),
		refused:       desc("kv_refused_commands_total", "Commands that could not be decoded, since the beginning of the log."),
		syncs:         desc("store_syncs_total", "Flushes of the log store since the start."),
		stalled:       desc("store_stalled_seconds", "How long a write to the log store has not returned, once that is longer than raft.stall_timeout; else 0."),
	}
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.info, c.leader, c.term, c.lastIndex, c.commitIndex, c.applied,
		c.snapshotIndex, c.peerLag, c.contact, c.keys, c.commands, c.refused, c.syncs, c.stalled} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(to chan<- prometheus.Metric) {
	status := c.cfg.Replica.Status()
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		for i, l := range labels {
			labels[i] = strings.ToValidUTF8(l, "\uFFFD")
		}
		to <- prometheus.MustNewConstMetric(d, kind, value, labels...)
	}
	gauge := func(d *prometheus.Desc, value uint64) { send(d, prometheus.GaugeValue, float64(value)) }

	leads := uint64(0)
	if status.Role == core.Leader {
		leads = 1
	}
	send(c.info, prometheus.GaugeValue, 1, status.ID, c.cfg.Version, c.cfg.Store.Name, string(c.cfg.Store.Durability), c.cfg.Transport)
	gauge(c.leader, leads)
	gauge(c.term, status.Term)
	gauge(c.lastIndex, status.LastIndex)
	gauge(c.commitIndex, status.CommitIndex)
	gauge(c.applied, status.AppliedIndex)
	gauge(c.snapshotIndex, status.SnapshotIndex)
	for _, f := range status.Followers {
		if !f.LastContact.IsZero() {
			send(c.peerLag, prometheus.GaugeValue, float64(lagOf(status, f)), f.ID)
		}
	}
	if status.Role != core.Leader && !status.LastContact.IsZero() {
		send(c.contact, prometheus.GaugeValue, time.Since(status.LastContact).Seconds())
	}
	refused, _ := c.cfg.Map.Refused()
	gauge(c.keys, uint64(c.cfg.Map.Len()))
	send(c.commands, prometheus.CounterValue, float64(c.cfg.Map.Applied()))
	send(c.refused, prometheus.CounterValue, float64(refused))
	send(c.stalled, prometheus.GaugeValue, status.Stalled.Seconds())
	if c.cfg.Syncs != nil {
		send(c.syncs, prometheus.CounterValue, float64(c.cfg.Syncs()))
	}
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
