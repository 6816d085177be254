package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// request is a request whose query is checked.
type request struct {
	*http.Request
	w           http.ResponseWriter // for the limits of the body
	subject     string              // the key or id in the path, as bytes
	query       url.Values
	consistency string
	deadline    time.Time
	forwarder   string // id of the node that forwards it; empty: it is a client's
	body        []byte // once read, as it came
	limits      *Limits
	share       *share // of the memory for all requests
}

// context returns the context in which the request is served: until its deadline, and
// no longer than HalfClosed after the client's side of the connection has ended. A
// node that has forwarded the request and gives up wants no answer.
func (q *request) context() (context.Context, context.CancelFunc) {
	if q.forwarder != "" {
		return context.WithDeadline(q.Context(), q.deadline)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(q.Context()), q.deadline)
	stop := context.AfterFunc(q.Context(), func() { time.AfterFunc(api.HalfClosed, cancel) })
	return ctx, func() {
		stop()
		cancel()
	}
}

// writes reports whether serving the request can change anything.
func (q *request) writes() bool { return q.Method != http.MethodGet && q.Method != http.MethodHead }

// parse checks what a request says outside its body.
func (s *Server) parse(w http.ResponseWriter, r *http.Request, subject string, e endpoint) (*request, error) {
	query, err := parseQuery(r.URL.RawQuery, e.params)
	if err != nil {
		return nil, err
	}
	timeout, err := parseTimeout(query, s.cfg.Timeout)
	if err != nil {
		return nil, err
	}
	q := &request{
		Request:     r,
		w:           w,
		subject:     subject,
		query:       query,
		consistency: query.Get("consistency"),
		deadline:    time.Now().Add(timeout),
		forwarder:   r.Header.Get(api.HeaderForwarded),
		limits:      &s.cfg.Limits,
	}
	switch {
	case !query.Has("consistency"):
		q.consistency = api.Linearizable
	case !slices.Contains([]string{api.Linearizable, api.Leader, api.Stale}, q.consistency):
		return nil, badRequest("consistency=%.40q: there are %s, %s and %s", q.consistency, api.Linearizable, api.Leader, api.Stale)
	}
	return q, s.isFor(q)
}

// isFor refuses a request that is for another group, or, if it was forwarded, for
// another node: the address of one node can be another's now, that node may have lost
// its data, and two groups may have the same ids.
func (s *Server) isFor(q *request) error {
	group, own := q.Header.Get(api.HeaderGroup), s.look().group
	if q.forwarder == "" {
		if group != "" && group != own {
			return refuse(api.CodeOtherGroup, "the request is for group %s, and node %s is of %s: "+
				"two groups are mixed up: take the addresses of one of them out of what the client was given", group, s.id, groupName(own))
		}
		return nil
	}
	meant := core.Identity{ID: q.Header.Get(api.HeaderLeaderID), Incarnation: q.Header.Get(api.HeaderIncarnation)}
	if meant != s.self || group != own {
		return s.notLeader("this is node %s of %s; %s forwarded the request to %s of %s", s.self, groupName(own), q.forwarder, meant, groupName(group))
	}
	return nil
}

func groupName(group string) string {
	if group == "" {
		return "no group"
	}
	return "group " + group
}

// parseQuery refuses parameters that are not known and such that stand twice: a
// typo in consistency must not weaken a read.
func parseQuery(raw string, known []string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, badRequest("query: %v", err)
	}
	known = append([]string{"timeout"}, known...)
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if !slices.Contains(known, name) {
			return nil, badRequest("query: there is no parameter %.40q here; there are %s", name, strings.Join(known, ", "))
		}
		if n := len(query[name]); n > 1 && !strings.HasSuffix(name, "[]") {
			return nil, badRequest("query: %s stands there %d times", name, n)
		}
	}
	return query, nil
}

// parseTimeout reads timeout: a duration as Go writes it, or a number of seconds.
func parseTimeout(query url.Values, fallback time.Duration) (time.Duration, error) {
	if !query.Has("timeout") {
		return fallback, nil
	}
	text := query.Get("timeout")
	timeout, err := time.ParseDuration(text)
	if err != nil {
		timeout, err = time.ParseDuration(text + "s")
	}
	if err != nil || timeout <= 0 || timeout > api.MaxTimeout {
		return 0, badRequest("timeout=%.40q: want a duration such as 2s or 150ms, or seconds, above 0 and up to %s", text, api.MaxTimeout)
	}
	return timeout, nil
}

// parseLimit reads limit, the length of a page.
func parseLimit(query url.Values) (int, error) {
	if !query.Has("limit") {
		return api.DefaultPageLimit, nil
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > api.MaxPageLimit {
		return 0, badRequest("limit=%.40q: want a whole number from 1 to %d", query.Get("limit"), api.MaxPageLimit)
	}
	return limit, nil
}

// key returns the key in the path.
func (q *request) key() (string, error) {
	if q.subject == "" {
		return "", badRequest("the key is empty: keys have at least one byte")
	}
	if err := checkKey(q.subject); err != nil {
		return "", err
	}
	return q.subject, nil
}

func checkKey(key string) error {
	if len(key) > kv.MaxKeyBytes {
		return tooLarge("key %.40q… has %d bytes: at most %d are allowed", key, len(key), kv.MaxKeyBytes)
	}
	return nil
}

// condition reads If-Match and If-None-Match of a write.
func condition(h http.Header) (kv.Condition, error) {
	none := kv.Condition{}
	match, noneMatch := h.Values("If-Match"), h.Values("If-None-Match")
	switch {
	case len(match)+len(noneMatch) == 0:
		return none, nil
	case len(match) > 0 && len(noneMatch) > 0:
		return none, badRequest("If-Match and If-None-Match: a request can have one of them")
	case len(match)+len(noneMatch) > 1:
		return none, badRequest("If-Match or If-None-Match stands there twice")
	case len(noneMatch) == 1 && noneMatch[0] == "*":
		return kv.Condition{Kind: kv.IfAbsent}, nil
	case len(noneMatch) == 1:
		return none, badRequest("If-None-Match: %.40q: a write takes only *", noneMatch[0])
	case match[0] == "*":
		return kv.Condition{Kind: kv.IfPresent}, nil
	}
	index, _, ok := parseETag(match[0]) // a write is about the key, however it was read
	if !ok {
		return none, badRequest(`If-Match: %.40q: want *, or one ETag such as "7"`, match[0])
	}
	return kv.Condition{Kind: kv.IfIndex, Index: index}, nil
}

// noneMatch reads If-None-Match of a read: what it returns says whether the key with
// the given index is one that the client has already, in the representation that it
// asks for.
func noneMatch(h http.Header, wanted representation) (has func(index uint64) bool, err error) {
	values := h.Values("If-None-Match")
	switch {
	case len(h.Values("If-Match")) > 0:
		return nil, badRequest("If-Match goes with POST, PUT and DELETE")
	case len(values) == 0:
		return func(uint64) bool { return false }, nil
	case len(values) == 1 && values[0] == "*":
		return func(uint64) bool { return true }, nil
	case len(values) == 1:
		if known, of, ok := parseETag(values[0]); ok {
			return func(index uint64) bool { return index == known && (of == wanted || of == anyRepresentation) }, nil
		}
	}
	return nil, badRequest(`If-None-Match: %.40q: want *, or one ETag such as "7"`, strings.Join(values, ", "))
}

// unconditional refuses conditions where there is no one key they could hold of.
func unconditional(h http.Header) error {
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if len(h.Values(name)) > 0 {
			return badRequest("%s goes with /key/{key} only", name)
		}
	}
	return nil
}

// parseETag reads a log index as the ETag of either representation gives it, or bare.
func parseETag(text string) (index uint64, of representation, ok bool) {
	of = anyRepresentation
	if len(text) > 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
		of = asJSON
		if number, bare := strings.CutSuffix(text, octetsTag); bare {
			text, of = number, asOctets
		}
	}
	index, err := strconv.ParseUint(text, 10, 64)
	return index, of, err == nil && text == strconv.FormatUint(index, 10)
}

// representation is how a value is answered. Each has ETags of its own: what a cache
// has kept of one must not be taken for the other.
type representation int

const (
	asJSON representation = iota
	asOctets
	anyRepresentation // of an index without quotes, which is no ETag
)

// octetsTag is what the ETag of bare bytes ends in.
const octetsTag = "-octets"

// etag returns the ETag of a key that was last changed at index.
func (r representation) etag(index uint64) string {
	tag := strconv.FormatUint(index, 10)
	if r == asOctets {
		tag += octetsTag
	}
	return `"` + tag + `"`
}

// accepted returns the representation that the client asks for.
func accepted(h http.Header) representation {
	for _, accepted := range strings.Split(strings.Join(h.Values("Accept"), ","), ",") {
		kind, _, _ := strings.Cut(accepted, ";")
		if strings.EqualFold(strings.TrimSpace(kind), typeBytes) {
			return asOctets
		}
	}
	return asJSON
}

// checkOrigin refuses what a web page has a browser do, if it could change anything. A
// node serves no pages, so whichever page it is, it is a stranger's, also where the
// name it was loaded from has become the node's address since. Browsers say Origin with
// all but GET and HEAD, and no page can keep them from it; other clients do not.
func checkOrigin(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if len(r.Header["Origin"]) > 0 || site != "" && site != "none" {
		return refuse(api.CodeForbidden, "a web page (Origin %.100q) cannot change anything here: use clusterctl, curl or a program",
			r.Header.Get("Origin"))
	}
	return nil
}

// problem is an answer that is an error.
type problem struct {
	code    api.Code
	message string
	leader  string // id, with CodeNotLeader
	header  http.Header
}

// Error implements error.
func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.code.Status(), p.code, p.message) }

func (p *problem) answer() answer {
	a := jsonAnswer(p.code.Status(), api.Error{Error: p.message, Code: p.code, Leader: p.leader})
	maps.Copy(a.header, p.header)
	return a
}

// refuse makes a problem. With a 503 nothing was written, and soon it may be different.
func refuse(code api.Code, format string, args ...any) *problem {
	p := &problem{code: code, message: fmt.Sprintf(format, args...), header: http.Header{}}
	if code.Status() == http.StatusServiceUnavailable {
		p.header.Set("Retry-After", "1")
	}
	return p
}

func badRequest(format string, args ...any) error { return refuse(api.CodeBadRequest, format, args...) }

func notReady(format string, args ...any) error { return refuse(api.CodeNotReady, format, args...) }

func tooLarge(format string, args ...any) error { return refuse(api.CodeTooLarge, format, args...) }

func timedOut(format string, args ...any) error { return refuse(api.CodeTimeout, format, args...) }

// problemOf gives the error of a handler its code.
func (s *Server) problemOf(err error) *problem {
	code := api.CodeInternal
	var p *problem
	switch {
	case errors.Is(err, core.ErrOutcomeUnknown): // before the others: they may be its cause
		code = api.CodeOutcomeUnknown
	case errors.As(err, &p):
		return p
	case errors.Is(err, core.ErrClosed):
		return s.stoppedProblem()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = api.CodeTimeout
	}
	return refuse(code, "%v", err)
}
