package client

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// aside is how long a node that failed is asked after all others.
const aside = time.Second

// endpoints is what the client knows of the nodes: where they are, which one
// leads, which failed of late. Safe for concurrent use.
type endpoints struct {
	given []string // by the caller; never changes

	mu      sync.Mutex
	learned []string // named as leaders by nodes and not given; left once they fail
	leader  string   // empty: not known
	next    int      // where the next round begins
	failed  map[string]time.Time
}

func newEndpoints(given []string) (*endpoints, error) {
	e := &endpoints{failed: make(map[string]time.Time)}
	for _, s := range given {
		address, err := parseEndpoint(s)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(e.given, address) {
			e.given = append(e.given, address)
		}
	}
	if len(e.given) == 0 {
		return nil, fmt.Errorf("%w: no endpoints: give host:port of at least one node", ErrInvalid)
	}
	return e, nil
}

// parseEndpoint returns the host:port of an endpoint as users write it.
func parseEndpoint(s string) (string, error) {
	address := strings.TrimSuffix(strings.TrimPrefix(s, "http://"), "/")
	host, port, err := net.SplitHostPort(address)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" ||
		strings.ContainsAny(host, "/?#@ ") {
		return "", fmt.Errorf("%w endpoint %q: write host:port or http://host:port", ErrInvalid, s)
	}
	return address, nil
}

// pick returns the node to ask next: the leader, if it is wanted, known and not
// failing, then the others in turn, those that failed of late last. It returns
// none once all were tried.
func (e *endpoints) pick(wantLeader bool, tried []string) (string, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if wantLeader && e.leader != "" && !slices.Contains(tried, e.leader) && !e.failing(e.leader) {
		return e.leader, true
	}
	all := slices.Concat(e.given, e.learned)
	if len(tried) == 0 {
		e.next++
	}
	second := ""
	for i := range all {
		address := all[(e.next+i)%len(all)]
		switch {
		case slices.Contains(tried, address):
		case !e.failing(address):
			return address, true
		case second == "":
			second = address
		}
	}
	return second, second != ""
}

func (e *endpoints) failing(address string) bool {
	at, ok := e.failed[address]
	return ok && time.Since(at) < aside
}

// works takes in that a node served a request.
func (e *endpoints) works(address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.failed, address)
}

// fails takes in that a node could not serve.
func (e *endpoints) fails(address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader == address {
		e.leader = ""
	}
	if i := slices.Index(e.learned, address); i >= 0 {
		e.learned = slices.Delete(e.learned, i, i+1)
	}
	if slices.Contains(e.given, address) {
		e.failed[address] = time.Now()
	}
}

// leads takes in whom a node names as leader, "" if nobody.
func (e *endpoints) leads(leader string) {
	address, err := parseEndpoint(leader)
	if err != nil {
		return // what a node advertises by mistake is no reason to fail
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leader = address
	if !slices.Contains(e.given, address) && !slices.Contains(e.learned, address) {
		e.learned = append(e.learned, address)
	}
}

func (e *endpoints) knownLeader() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}
