package runner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/bench/record"
)

// The counters of what a node's discovery layer sent, in the text format of
// Prometheus.
const (
	messagesCounter = "raftlab_gossip_messages_total"
	bytesCounter    = "raftlab_gossip_bytes_total"
	sentLabel       = `direction="sent"`
)

// sent is what the discovery layer of one node has sent so far.
type sent struct {
	at              time.Time
	messages, bytes int64
}

// since is what was sent after before.
func (s sent) since(before sent) record.Traffic {
	return record.Traffic{NS: int64(s.at.Sub(before.at)), Messages: s.messages - before.messages, Bytes: s.bytes - before.bytes}
}

// errNoCounters says that a node does not count what it sends.
var errNoCounters = errors.New("it has no counters of gossip: its kvnode and this raftlab do not belong together")

// sent reads the counters of all members. Members that do not gossip send nothing.
func (g *processes) sent(ctx context.Context) ([]sent, error) {
	all := make([]sent, len(g.file.Nodes))
	if !g.file.Gossips() {
		for i := range all {
			all[i].at = time.Now()
		}
		return all, nil
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for i, n := range g.file.Nodes {
		var err error
		if all[i], err = scrape(ctx, &http.Client{Transport: transport, Timeout: pollTimeout}, n.HTTPAddress); err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", n.Alias, err)
		}
	}
	return all, nil
}

func scrape(ctx context.Context, from *http.Client, address string) (sent, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return sent{}, err
	}
	response, err := from.Do(request)
	if err != nil {
		return sent{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return sent{}, errors.New(response.Status)
	}
	s := sent{at: time.Now()}
	s.messages, s.bytes, err = parseSent(response.Body)
	return s, err
}

// parseSent adds up the counters of what was sent.
func parseSent(text io.Reader) (messages, bytes int64, err error) {
	counters := map[string]*int64{messagesCounter: &messages, bytesCounter: &bytes}
	found := map[string]bool{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), "{")
		labels, value, _ := strings.Cut(rest, "} ")
		counter := counters[name]
		if counter == nil || !strings.Contains(labels, sentLabel) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", name, err)
		}
		*counter += int64(n)
		found[name] = true
	}
	if err := lines.Err(); err != nil {
		return 0, 0, err
	}
	if len(found) < len(counters) {
		return 0, 0, errNoCounters
	}
	return messages, bytes, nil
}
