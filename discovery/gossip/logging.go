package gossip

import (
	"context"
	"log"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// maxRemembered bounds how many different lines are remembered as logged.
const maxRemembered = 4096

// once remembers what was logged, so that it is logged once and not with every
// packet.
type once struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

func newOnce() *once { return &once{seen: map[string]time.Time{}} }

// first says whether key comes for the first time. When it remembers too much it
// says no: a flood of different lines must not fill the log, or the memory.
func (o *once) first(key string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, seen := o.seen[key]; seen || len(o.seen) >= maxRemembered {
		return false
	}
	o.seen[key] = time.Now()
	return true
}

// age says how long ago key came for the first time.
func (o *once) age(key string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if first, seen := o.seen[key]; seen {
		return time.Since(first)
	}
	return 0
}

// forget lets key be logged again.
func (o *once) forget(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.seen, key)
}

// gate keeps calls out once it is closed. memberlist's timers outlive its shutdown
// and would still call and log.
type gate struct {
	mu     sync.RWMutex
	closed bool
}

// enter says whether the call may go on; it then ends with leave.
func (g *gate) enter() bool {
	g.mu.RLock()
	if g.closed {
		g.mu.RUnlock()
		return false
	}
	return true
}

func (g *gate) leave() { g.mu.RUnlock() }

// close returns once the calls that are in have ended.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// logs turns memberlist's lines, one per packet, into ours, one per cause.
type logs struct {
	logger *slog.Logger
	once   *once
	gate   *gate
}

// hints are what memberlist's lines about a stranger mean. Each is logged once
// per host.
var hints = []struct{ contains, message string }{
	{"unacceptable label", "refused: it belongs to another cluster"},
	{"Decrypt packet failed", "refused: it does not have this cluster's key"},
	{"No installed keys could decrypt", "refused: it does not have this cluster's key"},
	{"remote state is not encrypted", "refused: it does not encrypt and this node does"},
	{"remote state is encrypted", "refused: it encrypts and this node has no key"},
	{"msg type", "refused: it sends what this node cannot read: another program, or encrypted while this node has no key"},
}

// dropped are lines about what is logged by the agent itself.
// or that say nothing: a connection that broke at once has no label.
var dropped = []string{"ignoring alive message", "Conflicting address", "push/pull merge", "Refuting", `label ""`}

var (
	from  = regexp.MustCompile(`from=(\S+):\d+`)
	label = regexp.MustCompile(`label "[^"]*"`)
	ports = regexp.MustCompile(`:\d+`)
)

func (l *logs) standard() *log.Logger { return log.New(l, "", 0) }

// Write implements io.Writer for the standard logger: one call, one line.
func (l *logs) Write(b []byte) (int, error) {
	if l.gate.enter() {
		defer l.gate.leave()
		l.line(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func (l *logs) line(line string) {
	level := slog.LevelDebug
	if strings.HasPrefix(line, "[WARN]") || strings.HasPrefix(line, "[ERR") {
		level = slog.LevelWarn
	}
	if _, rest, found := strings.Cut(line, "] "); found {
		line = rest
	}
	line = strings.TrimPrefix(line, "memberlist: ")
	for _, d := range dropped {
		if strings.Contains(line, d) {
			level = slog.LevelDebug
		}
	}
	for _, h := range hints {
		if strings.Contains(line, h.contains) && level > slog.LevelDebug {
			l.stranger(line, h.message)
			return
		}
	}
	if level > slog.LevelDebug && !l.once.first(ports.ReplaceAllString(line, ":*")) {
		level = slog.LevelDebug
	}
	l.logger.Log(context.Background(), level, line, "component", "memberlist")
}

// stranger logs that a node was refused, once per host and cause.
func (l *logs) stranger(line, message string) {
	host := "unknown"
	if m := from.FindStringSubmatch(line); m != nil {
		host = m[1]
	}
	if l.once.first("stranger " + message + label.FindString(line) + host) {
		l.logger.Warn("gossip from "+host+" "+message, "component", "gossip", "detail", line)
	}
}
