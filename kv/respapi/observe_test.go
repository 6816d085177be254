package respapi_test

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/themilchenko/raftlab/kv/client"
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

// TestConnectionsOfAClient: a client of kv/client has as many as it was told, however many call it.
func TestConnectionsOfAClient(t *testing.T) {
	n := start(t, 1, nil)[0]
	for _, want := range []int{1, 3} {
		c, err := client.NewRESP([]string{n.address}, client.Options{Connections: want})
		if err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		for i := range 16 {
			callers.Go(func() {
				for range 10 {
					if _, err := c.Set(t.Context(), strconv.Itoa(i), nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		others := dial(t, n.address)
		answers := bufio.NewReader(others)
		eventually(t, "so many connections", func() bool { // some may be on their way out
			others.say(encode([]string{"INFO", "clients"}))
			for {
				line, err := answers.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if count, found := strings.CutPrefix(line, "connected_clients:"); found {
					_, _ = answers.ReadString('\n')
					_, _ = answers.ReadString('\n')
					return strings.TrimSpace(count) == strconv.Itoa(want+1)
				}
			}
		})
		_ = others.Close()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
