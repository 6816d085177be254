package node

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/httpapi"
	"github.com/themilchenko/raftlab/kv/respapi"
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
func (n *Node) serve(context.Context) (err error) {
	cfg := httpapi.Config{
		Replica: n.replica, Map: n.store, Logger: n.cfg.Logger, Version: Version(), HTTPAddress: n.http, RESPAddress: n.respAddress,
		Engine: n.cfg.Engine.Describe().Name, Store: n.logs.Describe(), Persistence: n.cfg.Tuning.Persistence,
		Transport: n.cfg.Network.Describe().Name, Timeout: n.cfg.RequestTimeout,
	}
	if counter, ok := core.As[core.SyncCounter](n.logs); ok {
		cfg.Syncs = counter.SyncCount
	}
	if n.agent != nil {
		cfg.Gossip, cfg.Directory, cfg.Leave = n.agent, directory{n.store, n.agent}, n.leave
	}
	if n.api, err = httpapi.New(cfg); err != nil {
		return err
	}
	n.serveHTTP(n.api)
	return n.serveRESP()
}

// serveRESP answers the Redis protocol, if the node is to.
func (n *Node) serveRESP() (err error) {
	if n.respLinks == nil {
		return nil
	}
	n.resp, err = respapi.New(respapi.Config{
		Replica: n.replica, Map: n.store, Node: n.api, Logger: n.cfg.Logger, Version: Version(),
		Store: n.logs.Describe(), Persistence: n.cfg.Tuning.Persistence, Timeout: n.cfg.RequestTimeout,
	})
	if err != nil {
		return err
	}
	if err := n.api.Measure(n.resp); err != nil {
		return err
	}
	go func() {
		if err := n.resp.Serve(n.respLinks); err != nil {
			n.respEnded <- err
		}
	}()
	return nil
}

// serveHTTP has h answer all requests from now on.
func (n *Node) serveHTTP(h http.Handler) {
	n.handler.Store(&h)
	if n.server != nil {
		return
	}
	n.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*n.handler.Load()).ServeHTTP(w, r) }),
		ReadHeaderTimeout: readHeaderTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(n.cfg.Logger.Handler(), slog.LevelWarn),
	}
	httpapi.BoundConnections(n.server, 0)
	go func() {
		defer close(n.serving)
		n.serveErr = n.server.Serve(n.listener)
	}()
}

const (
	watchInterval = 100 * time.Millisecond
	// stopGrace is how long a replica that is stopping may take to say so.
	stopGrace = 2 * time.Second
)

// watch logs changes of the role and the leader, and notices an engine that has
// ended without its replica. It returns when ctx ends or the replica has stopped.
func (n *Node) watch(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	var last core.Status
	alone := loneliness{since: time.Now()}
	for {
		now := n.replica.Status()
		if now.Role == core.Stopped {
			break
		}
		n.logChange(last, now)
		if alone.tell(time.Now(), now) {
			n.cfg.Logger.Warn("no leader for "+longAlone.String()+": most of the voters have to run and to reach each other. "+
				"If most have lost their data for good, what the others hold can be had: see 'kvnode recover --help'", "voters", voterIDs(now))
		}
		last = now
		select {
		case <-tick.C:
		case <-n.replica.Done():
			return
		case <-ctx.Done():
			return
		}
	}
	select {
	case <-n.replica.Done():
	case <-ctx.Done():
	case <-time.After(stopGrace):
		close(n.expelled)
	}
}

// longAlone is how long a group is without a leader until a node says what may help.
const longAlone = 30 * time.Second

// loneliness is how long a node has known no leader.
type loneliness struct {
	since time.Time
	told  bool
}

// tell says, once, that it has been long.
func (l *loneliness) tell(now time.Time, s core.Status) bool {
	if s.LeaderID != "" || len(s.Members) == 0 {
		l.since, l.told = now, false
		return false
	}
	long := !l.told && now.Sub(l.since) >= longAlone
	l.told = l.told || long
	return long
}

func voterIDs(s core.Status) (ids []string) {
	for _, m := range s.Members {
		if m.Voter {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (n *Node) logChange(last, now core.Status) {
	if now.Role != last.Role {
		n.cfg.Logger.Info("role is "+string(now.Role), "term", now.Term)
	}
	if now.LeaderID == last.LeaderID {
		return
	}
	if now.LeaderID == "" {
		n.cfg.Logger.Info("no leader known", "was", last.LeaderID, "term", now.Term)
		return
	}
	n.cfg.Logger.Info("leader is "+now.LeaderID, "address", now.LeaderAddress, "term", now.Term)
}
