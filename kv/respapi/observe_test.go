package respapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestMetrics: what was answered is counted, for Prometheus as for INFO.
func TestMetrics(t *testing.T) {
	n := start(t, 1, nil)[0]
	if err := n.api.Measure(n.resp); err != nil {
		t.Fatal(err)
	}
	c := dial(t, n.address)
	for range 3 {
		c.say(encode([]string{"SET", "k", "v"}))
		c.want("+OK\r\n")
	}
	c.say(encode([]string{"INCR", "k"}))
	c.want("-ERR value is not an integer or out of range\r\n")
	response, err := http.Get("http://" + n.http.Listener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`raftlab_resp_commands_total{command="set"} 3`, `raftlab_resp_failed_commands_total{command="incr"} 1`,
		`raftlab_resp_connections 1`, `raftlab_resp_command_seconds_total{command="set"} `,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
