package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// FuzzBatchBody holds the decoder of batches against encoding/json: what it takes
// means the same there, and what it refuses is refused there, too, or is one of
// the things that encoding/json mends in silence.
func FuzzBatchBody(f *testing.F) {
	for _, seed := range []string{
		`{"my_first_key":"example_value"}`, ` { "a" : "1" , "b" : "\u00e9\ud83d\ude00\n" } `, `{}`, ``, `[]`, `null`, `{"a":1}`,
		`{"a":"1","a":"2"}`, `{"a":"\ud800"}`, `{"\udc00x":""}`, `{"a":"1"}{`, `{"":"1"}`, `{"a":"1",}`, `{"a":{"b":[]}}`, "{\"a\":\"\xff\"}",
		`{"a":"\\ud800"}`, `{"a" "b"}`, `{"a":null}`, `{"a":true}`, `{a:1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ops, err := decodeBatch(body)
		var oracle map[string]string
		errOracle := json.Unmarshal(body, &oracle)
		if err != nil {
			mustBeProblem(t, err)
			if errOracle == nil && !mended(body, oracle) {
				t.Fatalf("refused %q: %v", body, err)
			}
			return
		}
		got := map[string]string{}
		for _, op := range ops {
			got[op.Key] = string(op.Value)
		}
		if errOracle != nil || !maps.Equal(got, oracle) || len(got) != len(ops) {
			t.Fatalf("%q: %q, encoding/json says %q, %v", body, got, oracle, errOracle)
		}
		if _, err := kv.EncodeBatch(ops); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
	})
}

// mended reports whether encoding/json may have made a map of a body that is to be
// refused.
func mended(body []byte, got map[string]string) bool {
	_, empty := got[""]
	colons := bytes.Count(body, []byte(":"))
	return len(got) == 0 || empty || !utf8.Valid(body) || colons > len(got) || // perhaps a name twice
		bytes.Contains(bytes.ToLower(body), []byte(`\ud`)) || bytes.Contains(body, []byte("null"))
}

func mustBeProblem(t *testing.T, err error) {
	t.Helper()
	var p *problem
	if !errors.As(err, &p) || p.code.Status() < 400 || p.code.Status() > 499 || p.message == "" {
		t.Fatalf("%v is not an error of the client", err)
	}
}

func FuzzAdminBody(f *testing.F) {
	for _, seed := range []string{
		`{"id":"n1","address":"h:1","http_address":"h:2"}`, `{"id":"n1","address":"[::1]:1","http_address":"h:2","nonvoter":true}`,
		`{"id":"n1"}`, ``, ` `, `{"id":1}`, `{"ID":"n1"}`, `{"nonvoter":"yes"}`, `{"id":"\u0000","address":"a","http_address":":1"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if j, err := decodeJoin(body); err != nil {
			mustBeProblem(t, err)
		} else {
			again, err := json.Marshal(j)
			if err != nil {
				t.Fatal(err)
			}
			if same, err := decodeJoin(again); err != nil || same != j {
				t.Fatalf("%+v reads back as %+v, %v", j, same, err)
			}
			if _, err := kv.EncodeAnnounce(j.ID, j.HTTPAddress); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := decodeTransfer(body); err != nil {
			mustBeProblem(t, err)
		}
	})
}

// FuzzRequest takes query, path and condition headers apart.
func FuzzRequest(f *testing.F) {
	f.Add("/key/a%2Fb", "consistency=stale&timeout=2s", `"7"`, "")
	f.Add("/key//..", "limit=10&prefix=%ff&after=+", "", "*")
	f.Add("/members/%00", "timeout=1.5", `W/"7"`, `"1", "2"`)
	f.Add("/key/%zz", "timeout=NaN&timeout=1", "*", "*")
	f.Add("/", "a;b", "007", `""`)
	s := &Server{}
	s.routes = s.table()
	f.Fuzz(func(t *testing.T, path, query, match, none string) {
		if _, _, err := s.route(path); err != nil {
			mustBeProblem(t, err)
		}
		h := http.Header{}
		if match != "" {
			h.Set("If-Match", match)
		}
		if none != "" {
			h.Set("If-None-Match", none)
		}
		checkHeaders(t, h)
		values, err := parseQuery(query, []string{"consistency", "prefix", "after", "limit"})
		if err != nil {
			mustBeProblem(t, err)
			return
		}
		checkQuery(t, values)
	})
}

func checkHeaders(t *testing.T, h http.Header) {
	t.Helper()
	cond, err := condition(h)
	if err != nil {
		mustBeProblem(t, err)
	} else if (cond.Kind == kv.Always) != (len(h) == 0) {
		t.Fatalf("%v is taken for %+v", h, cond)
	} else if cond.Kind == kv.IfIndex && strings.TrimSuffix(strings.Trim(h.Get("If-Match"), `"`), octetsTag) != strings.Trim(asJSON.etag(cond.Index), `"`) {
		t.Fatalf("%v is taken for %+v", h, cond)
	}
	for _, r := range []representation{asJSON, asOctets} {
		if _, err := noneMatch(h, r); err != nil {
			mustBeProblem(t, err)
		}
	}
	if err := unconditional(h); (err == nil) != (len(h) == 0) {
		t.Fatalf("%v: %v", h, err)
	}
}

func checkQuery(t *testing.T, values url.Values) {
	t.Helper()
	if timeout, err := parseTimeout(values, time.Second); err != nil {
		mustBeProblem(t, err)
	} else if timeout <= 0 || timeout > api.MaxTimeout {
		t.Fatalf("%v: timeout %s", values, timeout)
	}
	if limit, err := parseLimit(values); err != nil {
		mustBeProblem(t, err)
	} else if limit < 1 || limit > api.MaxPageLimit {
		t.Fatalf("%v: limit %d", values, limit)
	}
	after := values.Get("after")
	if back, err := url.QueryUnescape(escape(after)); err != nil || back != after {
		t.Fatalf("%q reads back as %q, %v", after, back, err)
	}
}
