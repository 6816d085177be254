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
	m.registry.MustRegister(m.requests, m.inFlight, m.forwarded, held, collector(s.collectNode),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.cfg.Gossip != nil {
		m.registry.MustRegister(collector(s.collectGossip))
	}
	return m
}

// Measure has /metrics show what c collects, too.
func (s *Server) Measure(c prometheus.Collector) error { return s.metrics.registry.Register(c) }

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

// collector sends metrics of the moment when they are scraped. It describes none before:
// what it sends depends on the node's role.
type collector func(sample)

// sample sends one metric; labels are names and values in turn.
type sample func(kind prometheus.ValueType, name, help string, value float64, labels ...string)

// Describe implements prometheus.Collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	c(func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, strings.ToValidUTF8(labels[i+1], "\uFFFD"))
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc("raftlab_"+name, help, names, nil), kind, value, values...)
	})
}

// collectNode sends the node's state.
func (s *Server) collectNode(send sample) {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	cfg, status, leads := s.cfg, s.cfg.Replica.Status(), 0.0
	if status.Role == core.Leader {
		leads = 1
	}
	send(gauge, "node_info", "What the node runs; always 1.", 1, "id", status.ID, "version", cfg.Version,
		"store", cfg.Store.Name, "durability", string(cfg.Store.Durability), "transport", cfg.Transport)
	send(gauge, "raft_is_leader", "1 on the leader, 0 elsewhere.", leads)
	send(gauge, "raft_term", "Current term.", float64(status.Term))
	send(gauge, "raft_last_index", "Newest entry in the log.", float64(status.LastIndex))
	send(gauge, "raft_commit_index", "Newest entry known to be committed.", float64(status.CommitIndex))
	send(gauge, "raft_applied_index", "Newest entry that the map has taken in.", float64(status.AppliedIndex))
	send(gauge, "raft_snapshot_index", "Newest entry that the last snapshot covers.", float64(status.SnapshotIndex))
	for _, f := range status.Followers {
		if !f.LastContact.IsZero() {
			send(gauge, "raft_peer_lag_entries", "Entries that a follower is behind the leader's log; on the leader.",
				float64(lagOf(status, f)), "id", f.ID)
		}
	}
	if status.Role != core.Leader && !status.LastContact.IsZero() {
		send(gauge, "raft_last_contact_seconds", "Time since a follower last heard from the leader; not on the leader.",
			time.Since(status.LastContact).Seconds())
	}
	refused, _ := cfg.Map.Refused()
	send(gauge, "kv_keys", "Keys in the map.", float64(cfg.Map.Len()))
	send(counter, "kv_commands_total", "Commands applied since the beginning of the log.", float64(cfg.Map.Applied()))
	send(counter, "kv_refused_commands_total", "Commands that could not be decoded, since the beginning of the log.", float64(refused))
	send(gauge, "store_stalled_seconds", "How long a write to the log store has not returned, once that is longer than raft.stall_timeout; else 0.",
		status.Stalled.Seconds())
	if cfg.Syncs != nil {
		send(counter, "store_syncs_total", "Flushes of the log store since the start.", float64(cfg.Syncs()))
	}
}

// collectGossip sends what gossip knows and has cost.
func (s *Server) collectGossip(send sample) {
	stats := s.cfg.Gossip.Stats()
	for direction, t := range map[string]gossip.Traffic{"sent": stats.Sent, "received": stats.Received} {
		send(prometheus.CounterValue, "gossip_messages_total", "Packets and streams of gossip since the start.", float64(t.Messages()), "direction", direction)
		send(prometheus.CounterValue, "gossip_bytes_total", "Bytes of gossip since the start, without the headers of UDP and TCP.", float64(t.Bytes()), "direction", direction)
	}
	count := map[discovery.State]int{discovery.Alive: 0, discovery.Failed: 0, discovery.Left: 0} // there also at 0
	for _, p := range s.cfg.Gossip.Peers() {
		count[p.State]++
	}
	for state, n := range count {
		send(prometheus.GaugeValue, "gossip_peers", "Nodes that gossip knows, this one included, by state.", float64(n), "state", string(state))
	}
}
