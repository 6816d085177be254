package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/kv/api"
)

// route is one path of the interface.
type route struct {
	pattern string // what stands for {…} is the request's subject
	methods map[string]endpoint
}

// endpoint is what one method of a route does.
type endpoint struct {
	serve  func(context.Context, *request) (answer, error)
	params []string // query parameters beside timeout
	always bool     // served also once the replica has stopped
}

// readIndexPath is where nodes ask the leader for a read index.
const readIndexPath = "/internal/read-index"

// table is the whole interface.
func (s *Server) table() []*route {
	get := func(e endpoint) map[string]endpoint {
		return map[string]endpoint{http.MethodGet: e, http.MethodHead: e}
	}
	post := func(serve func(context.Context, *request) (answer, error)) map[string]endpoint {
		return map[string]endpoint{http.MethodPost: {serve: serve}}
	}
	key := get(endpoint{serve: s.getKey, params: []string{"consistency"}})
	key[http.MethodPost] = endpoint{serve: s.setKey}
	key[http.MethodPut] = endpoint{serve: s.setKey}
	key[http.MethodDelete] = endpoint{serve: s.deleteKey}
	page := get(endpoint{serve: s.page, params: []string{"consistency", "prefix", "after", "limit"}})
	page[http.MethodPost] = endpoint{serve: s.setBatch}
	return []*route{
		{"/key/{key}", key},
		{"/key", page},
		{readIndexPath, get(endpoint{serve: s.readIndex})},
		{"/status", get(endpoint{serve: s.status, always: true})},
		{"/members", get(endpoint{serve: s.members, always: true})},
		{"/members/{id}", map[string]endpoint{http.MethodDelete: {serve: s.removeMember}}},
		{"/join", post(s.join)},
		{"/leave", post(s.leave)},
		{"/transfer", post(s.transfer)},
		{"/snapshot", post(s.snapshot)},
		{"/digest", get(endpoint{serve: s.digest})},
		{"/healthz", get(endpoint{serve: s.healthz, always: true})},
		{"/readyz", get(endpoint{serve: s.readyz, always: true})},
		{"/metrics", get(endpoint{serve: s.scrape, params: []string{"name[]"}, always: true})},
	}
}

// route finds the route of an escaped path and the subject in it. The path is
// taken as it came: a key may hold "//", "..", or an escaped slash.
func (s *Server) route(path string) (*route, string, error) {
	for _, r := range s.routes {
		prefix, _, hasSubject := strings.Cut(r.pattern, "{")
		if !hasSubject && path == prefix {
			return r, "", nil
		}
		if hasSubject && strings.HasPrefix(path, prefix) {
			subject, err := url.PathUnescape(path[len(prefix):])
			if err != nil {
				return nil, "", badRequest("path: %v", err)
			}
			return r, subject, nil
		}
	}
	return nil, "", notFound("no such path: %.100q", path)
}

func (r *route) methodNotAllowed(method string) error {
	allowed := strings.Join(slices.Sorted(maps.Keys(r.methods)), ", ")
	return &problem{
		status:  http.StatusMethodNotAllowed,
		code:    api.CodeMethodNotAllowed,
		message: fmt.Sprintf("%s takes %s, not %.20q", r.pattern, allowed, method),
		header:  http.Header{"Allow": {allowed}},
	}
}
