package httpapi_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

// TestTranscript is the session of the manual, byte for byte, against different
// nodes.
func TestTranscript(t *testing.T) {
	g := start(t, 3, nil)
	a, b, c := g.nodes[0], g.nodes[1], g.nodes[2]
	if r := g.must(b, "POST", "/key", `{"my_first_key":"example_value"}`); r.body != "" || r.Header.Get(api.HeaderIndex) == "" {
		t.Errorf("%q, headers %v", r.body, r.Header)
	}
	for _, n := range g.nodes {
		r := g.must(n, "GET", "/key/my_first_key", "")
		if r.body != `{"my_first_key":"example_value"}` || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %q as %s", n.id, r.body, r.Header.Get("Content-Type"))
		}
		if node := r.Header.Get(api.HeaderNode); node != n.id {
			t.Errorf("%s answers as %s", n.id, node)
		}
		if id, address := r.Header.Get(api.HeaderLeaderID), r.Header.Get(api.HeaderLeader); id != a.id || address != a.address() {
			t.Errorf("%s names %s at %s as the leader", n.id, id, address)
		}
	}
	if r := g.must(c, "DELETE", "/key/my_first_key", ""); r.body != "" || r.Header.Get(api.HeaderIndex) == "" {
		t.Errorf("%q, headers %v", r.body, r.Header)
	}
	g.must(c, "DELETE", "/key/my_first_key", "")
	if r := g.do(b, "GET", "/key/my_first_key", ""); r.StatusCode != 404 || r.body != `{"my_first_key":""}` {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
	if r := g.do(b, "GET", "/key/my_first_key", "", "Accept", "application/octet-stream"); r.StatusCode != 404 || r.body != "" {
		t.Errorf("%d %q", r.StatusCode, r.body)
	}
	g.must(a, "PUT", "/key/html", "<&>\u2028")
	if r := g.must(a, "GET", "/key/html", ""); r.body != `{"html":"<&>\u2028"}` {
		t.Errorf("%q", r.body)
	}
}

// TestAnyBytes writes keys and values of any bytes through one node and reads them
// from others, whichever way they can be asked for.
func TestAnyBytes(t *testing.T) {
	g := start(t, 3, nil)
	anyKey := rapid.OneOf(
		rapid.SliceOfN(rapid.Byte(), 1, 12),
		rapid.Map(rapid.StringMatching(`([/.%+?#& é\x00"\\]|%2F|%00|\.\./|//|key/){1,6}`), func(s string) []byte { return []byte(s) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		key := string(anyKey.Draw(t, "key"))
		value := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "value")
		writer := rapid.SampledFrom(g.nodes).Draw(t, "writer")
		reader := rapid.SampledFrom(g.nodes).Draw(t, "reader")
		path := "/key/" + url.PathEscape(key)
		if rapid.Bool().Draw(t, "bare slashes") {
			path = strings.ReplaceAll(path, "%2F", "/")
		}
		method := rapid.SampledFrom([]string{"POST", "PUT"}).Draw(t, "method")
		level := rapid.SampledFrom([]string{api.Linearizable, api.Leader}).Draw(t, "level")

		if r := g.do(writer, method, path, string(value)); r.StatusCode != 200 {
			t.Fatalf("set: %d %s", r.StatusCode, r.body)
		}
		r := g.do(reader, "GET", path+"?consistency="+level, "", "Accept", "application/octet-stream")
		if r.StatusCode != 200 || r.body != string(value) {
			t.Fatalf("%s read: %d %q, want %q", level, r.StatusCode, r.body, value)
		}
		if got, _, ok := reader.store.Get(key); level == api.Linearizable && (!ok || !bytes.Equal(got, value)) {
			t.Fatalf("the map has %q, want %q", got, value)
		}
		r = g.do(reader, "GET", path+"?consistency="+level, "")
		if k, v := fromJSON(t, r); r.StatusCode != 200 || k != key || v != string(value) {
			t.Fatalf("%s: %d %q", level, r.StatusCode, r.body)
		}
		page := decode[api.Page](t, g.do(reader, "GET", "/key?limit=1&prefix="+url.QueryEscape(key), ""))
		if len(page.Pairs) != 1 || plain(t, page.Pairs[0].Key, page.Pairs[0].KeyBase64) != key ||
			plain(t, page.Pairs[0].Value, page.Pairs[0].ValueBase64) != string(value) {
			t.Fatalf("page: %+v", page)
		}
		if r := g.do(writer, "DELETE", path, ""); r.StatusCode != 200 {
			t.Fatalf("delete: %d %s", r.StatusCode, r.body)
		}
		if r := g.do(reader, "GET", path, ""); r.StatusCode != 404 {
			t.Fatalf("deleted: %d %q", r.StatusCode, r.body)
		}
	})
}

// fromJSON reads the body of GET /key/{key}.
func fromJSON(t *rapid.T, r response) (key, value string) {
	body := decode[map[string]string](t, r)
	if r.Header.Get("X-Kv-Encoding") == "" {
		for key, value := range body {
			return key, value
		}
	}
	if (body["value_base64"] != "") == utf8.ValidString(plain(t, body["value"], body["value_base64"])) {
		t.Fatalf("%v: needless base64, or none", body)
	}
	return plain(t, body["key"], body["key_base64"]), plain(t, body["value"], body["value_base64"])
}

func plain(t *rapid.T, text, encoded string) string {
	if encoded == "" {
		return text
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHead(t *testing.T) {
	g := start(t, 3, nil)
	g.must(g.nodes[0], "POST", "/key/k", "value")
	for _, n := range g.nodes {
		for _, path := range []string{"/key/k", "/key/k?consistency=leader", "/key/none", "/key", "/members"} {
			get, head := g.do(n, "GET", path, ""), g.do(n, "HEAD", path, "")
			get.Header.Del("Date")
			head.Header.Del("Date")
			if head.body != "" || head.StatusCode != get.StatusCode || !maps.EqualFunc(get.Header, head.Header, slices.Equal) {
				t.Errorf("%s: HEAD answers %d %v %q, GET %d %v", path, head.StatusCode, head.Header, head.body, get.StatusCode, get.Header)
			}
		}
	}
}

func TestConditions(t *testing.T) {
	g := start(t, 3, nil)
	for _, n := range g.nodes {
		key := "/key/" + n.id
		g.do(n, "POST", key, "x", "If-Match", "*").refused(t, 412, api.CodeConditionFailed, "is not there")
		g.do(n, "DELETE", key, "", "If-Match", "7").refused(t, 412, api.CodeConditionFailed, "is not there")
		first := g.must(n, "POST", key, "1", "If-None-Match", "*").Header.Get("ETag")
		if got := g.must(n, "GET", key, "").Header.Get("ETag"); got != first || first == "" {
			t.Fatalf("the write says ETag %q, the read %q", first, got)
		}
		again := g.do(n, "PUT", key, "x", "If-None-Match", "*")
		again.refused(t, 412, api.CodeConditionFailed, "was last changed at index "+strings.Trim(first, `"`))
		if again.Header.Get("ETag") != first || again.Header.Get(api.HeaderIndex) == "" {
			t.Errorf("headers of a 412: %v", again.Header)
		}
		second := g.must(n, "PUT", key, "2", "If-Match", first).Header.Get("ETag")
		if r := g.do(n, "POST", key, "x", "If-Match", first); r.Header.Get("ETag") != second || r.StatusCode != 412 {
			t.Errorf("%d, ETag %s, want %s", r.StatusCode, r.Header.Get("ETag"), second)
		}
		for _, known := range []string{second, strings.Trim(second, `"`), "*"} {
			if r := g.do(n, "GET", key+"?consistency=leader", "", "If-None-Match", known); r.StatusCode != 304 || r.body != "" || r.Header.Get("ETag") != second {
				t.Errorf("If-None-Match %s: %d %q, headers %v", known, r.StatusCode, r.body, r.Header)
			}
		}
		if r := g.must(n, "GET", key, "", "If-None-Match", first); r.body != fmt.Sprintf(`{"%s":"2"}`, n.id) {
			t.Errorf("%q", r.body)
		}
		g.must(n, "POST", key, "3", "If-Match", "*")
		g.do(n, "DELETE", key, "", "If-Match", second).refused(t, 412, api.CodeConditionFailed, "was last changed")
		g.must(n, "DELETE", key, "", "If-Match", "*")
		if r := g.do(n, "GET", key, ""); r.StatusCode != 404 || r.Header.Get("ETag") != "" {
			t.Errorf("%d with ETag %q", r.StatusCode, r.Header.Get("ETag"))
		}
	}
}

// TestBatchIsOneEntry sets the same keys again and again while pages are read:
// each shows one batch whole.
func TestBatchIsOneEntry(t *testing.T) {
	g := start(t, 3, nil)
	const rounds = 30
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range rounds {
			g.must(g.nodes[i%3], "POST", "/key", fmt.Sprintf(`{"a":"%d","b":"%d","c":"%d"}`, i, i, i))
		}
	})
	for i := 0; i < rounds; i++ {
		pairs := decode[api.Page](t, g.must(g.nodes[i%3], "GET", "/key", "")).Pairs
		for _, p := range pairs {
			if len(pairs) != 3 || p.Value != pairs[0].Value || p.Index != pairs[0].Index {
				t.Errorf("torn batch: %+v", pairs)
			}
		}
	}
	writer.Wait()
	before := decode[api.Digest](t, g.must(g.nodes[0], "GET", "/digest", "")).Commands
	g.do(g.nodes[1], "POST", "/key", `{"a":"x","b":7}`).refused(t, 400, api.CodeBadRequest, `"b"`)
	r := g.must(g.nodes[1], "POST", "/key", `{"a":"x","z":"y"}`)
	after := decode[api.Digest](t, g.must(g.nodes[0], "GET", "/digest", ""))
	if after.Commands != before+1 || after.Keys != 4 {
		t.Errorf("%d commands, then %+v", before, after)
	}
	if tag := g.must(g.nodes[0], "GET", "/key/a", "").Header.Get("ETag"); tag != `"`+r.Header.Get(api.HeaderIndex)+`"` {
		t.Errorf("index %s, ETag %s", r.Header.Get(api.HeaderIndex), tag)
	}
}

func TestPages(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	if r := g.must(n, "GET", "/key", ""); r.body != `{"pairs":[]}` {
		t.Errorf("an empty map: %q", r.body)
	}
	var keys []string
	for i := range 25 {
		keys = append(keys, fmt.Sprintf("p %02d/\xff", i))
		g.must(n, "POST", "/key/"+url.PathEscape(keys[i]), "v")
	}
	g.must(n, "POST", "/key/other", "v")
	for _, limit := range []int{1, 5, 7, 25, 26, 1000} {
		var got []string
		for next, pages := "", 0; ; pages++ {
			page := decode[api.Page](t, g.must(n, "GET", fmt.Sprintf("/key?prefix=p%%20&limit=%d&after=%s", limit, next), ""))
			for _, p := range page.Pairs {
				key, err := base64.StdEncoding.DecodeString(p.KeyBase64)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(key))
			}
			if next = page.Next; next == "" {
				if want := (len(keys)+limit-1)/limit - 1; pages != want {
					t.Errorf("limit %d: %d pages, want %d", limit, pages+1, want+1)
				}
				break
			}
		}
		if !slices.Equal(got, keys) {
			t.Errorf("limit %d: %q", limit, got)
		}
	}
}

// TestPageIsBounded sees that a page ends at about 8 MiB of values, and that a
// larger one has a page of its own.
func TestPageIsBounded(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	g.must(n, "POST", "/key/a", strings.Repeat("v", 9<<20))
	g.must(n, "POST", "/key", `{"b":"","c":""}`)
	for after, want := range map[string]string{"": "[a] a", "a": "[b c] "} {
		page := decode[api.Page](t, g.must(n, "GET", "/key?after="+after, ""))
		if got := fmt.Sprint(keysOf(page), " ", page.Next); got != want {
			t.Errorf("after %q: %s, want %s", after, got, want)
		}
	}
}

func keysOf(page api.Page) []string {
	var keys []string
	for _, p := range page.Pairs {
		keys = append(keys, p.Key)
	}
	return keys
}

func TestSizes(t *testing.T) {
	g := start(t, 3, nil)
	follower := g.nodes[1]
	key := strings.Repeat("k", kv.MaxKeyBytes)
	value := strings.Repeat("\x00v", 1<<20)
	g.must(follower, "POST", "/key/"+key, value)
	if r := g.must(g.nodes[2], "GET", "/key/"+key+"?consistency=leader", "", "Accept", "text/html, Application/Octet-Stream;q=0.9"); r.body != value {
		t.Errorf("%d bytes", len(r.body))
	}
	g.do(follower, "GET", "/key/"+key+"k", "").refused(t, 413, api.CodeTooLarge, "at most 65536")
	// A body of unknown length, one byte too long.
	r, err := http.NewRequest("POST", "http://"+follower.address()+"/transfer", &spaces{left: 64<<10 + 1})
	if err != nil {
		t.Fatal(err)
	}
	g.send(r).refused(t, 413, api.CodeTooLarge, "at most 65536")
	var batch strings.Builder
	for i := range kv.MaxBatchOps + 1 {
		fmt.Fprintf(&batch, `,"%d":""`, i)
	}
	g.do(follower, "POST", "/key?timeout=1m", "{"+batch.String()[1:]+"}").refused(t, 413, api.CodeTooLarge, "more than 65536 pairs")
	g.do(follower, "POST", "/key", fmt.Sprintf(`{"%sk":""}`, key)).refused(t, 413, api.CodeTooLarge, "at most 65536")
}

// spaces reads as so many spaces; nobody can tell how many.
type spaces struct{ left int }

// Read implements io.Reader.
func (s *spaces) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), s.left)], strings.Repeat(" ", s.left))
	s.left -= n
	return n, nil
}
