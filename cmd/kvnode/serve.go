package main

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
)

// Limits of the HTTP server. Package httpapi bounds bodies and answers, by their size.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 512 << 10 // two keys of 64 KiB, percent-encoded, fit
	// writeTimeout bounds a request until its answer begins.
	writeTimeout = api.MaxTimeout + time.Minute
)

// serve answers requests from now on by the replica.
func (n *node) serve() (err error) {
	s := n.settings
	cfg := httpapi.Config{
		Replica: n.replica, Map: n.store, Logger: n.logger, Version: version(), HTTPAddress: n.http,
		Store: n.logs.Describe(), Transport: s.network.Describe().Name, Timeout: s.requestTimeout,
	}
	if counter, ok := n.logs.(core.SyncCounter); ok {
		cfg.Syncs = counter.SyncCount
	}
	if n.agent != nil {
		cfg.Gossip, cfg.Directory, cfg.Leave = n.agent, directory{n.agent, n.store}, n.leave
	}
	if n.api, err = httpapi.New(cfg); err != nil {
		return err
	}
	n.serveHTTP(n.api)
	return nil
}

// serveHTTP has h answer all requests from now on.
func (n *node) serveHTTP(h http.Handler) {
	n.handler.Store(&h)
	if n.server != nil {
		return
	}
	n.server = &http.Server{
		Handler:           &n.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(n.logger.Handler(), slog.LevelWarn),
	}
	connections := httpapi.BoundConnections(n.server, 0)
	n.server.RegisterOnShutdown(func() { time.AfterFunc(unusedTimeout, connections.CloseUnused) })
	go func() {
		defer close(n.serving)
		n.serveErr = n.server.Serve(n.listener)
	}()
}

// replaceable is a handler that another takes the place of while it serves.
type replaceable struct{ atomic.Pointer[http.Handler] }

// ServeHTTP implements http.Handler.
func (h *replaceable) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*h.Load()).ServeHTTP(w, r) }
