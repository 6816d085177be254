package respapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Server)(nil)

// Describe implements prometheus.Collector: the commands that are counted are those that
// were given.
func (s *Server) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s *Server) Collect(to chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"command"}
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc("raftlab_resp_"+name, help, names, nil), kind, value, labels...)
	}
	send(prometheus.GaugeValue, "connections", "Connections of the Redis protocol.", float64(len(s.all())))
	send(prometheus.CounterValue, "connections_total", "Connections of the Redis protocol since the start.", float64(s.stats.connections.Load()))
	send(prometheus.CounterValue, "rejected_connections_total", "Connections that were refused for being too many.", float64(s.stats.rejected.Load()))
	send(prometheus.CounterValue, "slow_connections_total", "Connections that were cut off for being too slow.", float64(s.stats.slow.Load()))
	for _, name := range s.sorted {
		c := &s.stats.commands[s.table[name].at]
		calls := c.calls.Load()
		if calls == 0 {
			continue
		}
		send(prometheus.CounterValue, "commands_total", "Commands that were answered.", float64(calls), name)
		send(prometheus.CounterValue, "failed_commands_total", "Commands that were answered with an error.", float64(c.failed.Load()), name)
		send(prometheus.CounterValue, "command_seconds_total", "Time from when commands had come to their answers.", time.Duration(c.took.Load()).Seconds(), name)
	}
}
