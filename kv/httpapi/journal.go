package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/themilchenko/raftlab/kv/api"
)

// warnEvery is how often failures of requests are logged at most: without a leader
// every request fails, and one line says as much as thousands.
const warnEvery = time.Second

// journal logs requests: each at debug level, and those that this side failed at
// warning level.
type journal struct {
	to *slog.Logger

	mu      sync.Mutex
	warned  time.Time
	skipped int // failures since then
}

// request logs one request that was answered.
func (j *journal) request(r *http.Request, pattern string, a answer, took time.Duration) {
	if !j.to.Enabled(r.Context(), slog.LevelDebug) {
		return
	}
	j.to.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelDebug, "request",
		slog.String("method", r.Method), slog.String("route", pattern), slog.String("path", shortPath(r)),
		slog.Int("status", a.status), slog.Int("bytes", len(a.body)), slog.Duration("took", took),
		slog.String("remote", r.RemoteAddr), slog.String("forwarded_by", r.Header.Get(api.HeaderForwarded)))
}

// problem logs a failure of this side. Not being ready, or not the leader, is none.
func (j *journal) problem(r *http.Request, p *problem) {
	if p.status < http.StatusInternalServerError || p.code == api.CodeNotReady || p.code == api.CodeNotLeader {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if now.Sub(j.warned) < warnEvery {
		j.skipped++
		return
	}
	j.to.Warn("request failed", "method", r.Method, "path", shortPath(r), "status", p.status, "code", p.code,
		"error", p.message, "not_logged_before", j.skipped)
	j.warned, j.skipped = now, 0
}

func shortPath(r *http.Request) string {
	path := r.URL.EscapedPath()
	return path[:min(len(path), 200)]
}
