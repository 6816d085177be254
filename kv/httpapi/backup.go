package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/backup"
)

// backupBytes is about how much a backup that is being sent holds.
const backupBytes = 1 << 20

// backup is GET and HEAD /backup. The map is captured in constant time, and sent while
// writes go on.
func (s *Server) backup(ctx context.Context, q *request) (answer, error) {
	if err := q.share.take(backupBytes); err != nil {
		return answer{}, err
	}
	if err := s.Barrier(ctx, q.consistency); err != nil {
		return answer{}, err
	}
	image := s.cfg.Map.Image()
	status := s.cfg.Replica.Status() // after the image: the term is to be that of its last entry at least
	head := backup.Header{Group: status.Group, Term: status.Term, Node: s.id, Engine: s.cfg.Engine, Version: s.cfg.Version}
	return answer{
		status: http.StatusOK,
		header: http.Header{"Content-Type": {typeBytes}, api.HeaderIndex: {strconv.FormatUint(image.Index(), 10)}},
		stream: func(to io.Writer) error {
			defer image.Release()
			_, err := backup.Write(to, head, image, nil)
			return err
		},
	}, nil
}

// A restore is driven by its client, part by part, so that no node has to live until its
// end: any of these requests may be sent again, to any node.

// stage is PUT /restore/{id}.
func (s *Server) stage(ctx context.Context, q *request) (answer, error) {
	part, err := wholeNumber(q.query, "part")
	if err != nil {
		return answer{}, err
	}
	pairs, err := q.readBody(api.MaxCommandBytes, valueCopies, "the part")
	if err != nil {
		return answer{}, err
	}
	command, err := kv.EncodeStage(q.subject, part, pairs)
	if err != nil {
		return answer{}, badRequest("%v", err)
	}
	return s.onLeader(ctx, q, func() (answer, error) {
		if part == 0 {
			if err := s.allCanRestore(ctx); err != nil {
				return answer{}, err
			}
		}
		return s.restore(ctx, command)
	})
}

// commitRestore is POST /restore/{id}.
func (s *Server) commitRestore(ctx context.Context, q *request) (answer, error) {
	keys, err := wholeNumber(q.query, "keys")
	if err != nil {
		return answer{}, err
	}
	var content backup.Digest
	text := q.query.Get("content")
	if n, err := hex.Decode(content[:], []byte(text[:min(len(text), 2*len(content))])); err != nil || 2*n != 2*len(content) || len(text) != 2*n {
		return answer{}, badRequest("content=%.80q: want a SHA-256, %d hexadecimal digits", text, 2*len(content))
	}
	command, err := kv.EncodeCommit(q.subject, keys, content)
	if err != nil {
		return answer{}, badRequest("%v", err)
	}
	return s.onLeader(ctx, q, func() (answer, error) { return s.restore(ctx, command) })
}

// forgetRestore is DELETE /restore/{id}.
func (s *Server) forgetRestore(ctx context.Context, q *request) (answer, error) {
	command, err := kv.EncodeForget(q.subject)
	if err != nil {
		return answer{}, badRequest("%v", err)
	}
	return s.onLeader(ctx, q, func() (answer, error) { return s.restore(ctx, command) })
}

func wholeNumber(query url.Values, name string) (uint64, error) {
	n, err := strconv.ParseUint(query.Get(name), 10, 64)
	if err != nil {
		return 0, badRequest("%s=%.40q: want a whole number", name, query.Get(name))
	}
	return n, nil
}

// restore proposes a command of a restore.
func (s *Server) restore(ctx context.Context, command []byte) (answer, error) {
	index, err := s.propose(ctx, command)
	if errors.Is(err, kv.ErrRestore) {
		return answer{}, refuse(api.CodeConditionFailed, "%v", err)
	}
	return written(index), err
}

// allCanRestore refuses where a member does not know the commands of a restore: it would
// refuse them, and from the commit on hold another map than the others.
func (s *Server) allCanRestore(ctx context.Context) error {
	status, err := s.configuration(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := halfTheTime(ctx)
	defer cancel()
	errs := make(chan error, len(status.Members))
	var asked sync.WaitGroup
	for _, m := range status.Members {
		if m.ID != s.id {
			asked.Go(func() { errs <- s.canRestore(ctx, m) })
		}
	}
	asked.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err // the first: a later one may only say that the time is up
		}
	}
	return nil
}

func (s *Server) canRestore(ctx context.Context, m core.Member) error {
	address, ok := s.address(m.ID)
	if !ok {
		return notReady("node %s has announced no HTTP address, so it cannot be asked whether it can restore: start it, or remove it", m.ID)
	}
	me, err := s.nodeAt(ctx, m, address)
	if err != nil {
		return notReady("node %s cannot be asked whether it can restore: start it, or remove it: %v", m.ID, err)
	}
	return knowsRestores(me)
}

// nodeAt returns what m tells of itself at the HTTP address.
func (s *Server) nodeAt(ctx context.Context, m core.Member, address string) (api.Node, error) {
	status, err := s.peers.Status(ctx, address)
	if err == nil && (status.Me.ID != m.ID || status.Me.Incarnation != m.Incarnation) {
		err = fmt.Errorf("at %s there is %.80q", address, status.Me.ID)
	}
	return status.Me, err
}

func knowsRestores(n api.Node) error {
	if slices.Contains(n.Features, api.FeatureRestore) {
		return nil
	}
	return badRequest("node %s runs kvnode %.40s, which knows no restore: start it with a newer kvnode", n.ID, n.Version)
}
