package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/cluster/process"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// TestCatchUpWithoutVote: a node that applies what is written on and on, but gets no vote, is
// not waited for without end.
func TestCatchUpWithoutVote(t *testing.T) {
	var applied atomic.Uint64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderNode, "n1")
		var s api.Status
		s.Me.ID, s.Me.CommitIndex, s.Me.AppliedIndex = "n1", 5, applied.Add(1)
		_ = json.NewEncoder(w).Encode(s)
	}))
	defer server.Close()
	n := clusterfile.Node{Alias: "n1", HTTPAddress: server.Listener.Addr().String()}
	file := &clusterfile.File{Nodes: []clusterfile.Node{n}}
	s := &session{narrator: newNarrator(io.Discard, io.Discard), file: file, cluster: process.New(file, process.Options{})}
	nodes, err := client.New([]string{n.HTTPAddress}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer nodes.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // bounds what would not end
	defer cancel()
	if err := s.catchUp(ctx, nodes, n, lookEvery*3); err == nil || !strings.Contains(err.Error(), "is a nonvoter") || ctx.Err() != nil {
		t.Errorf("%v", err)
	}
}
