package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/themilchenko/raftlab/kv/api"
)

// TestRefusedRequests sends what is wrong to a follower, and sees that it is told
// what is, and that nothing changes.
func TestRefusedRequests(t *testing.T) {
	g := start(t, 3, nil)
	g.must(g.nodes[0], "POST", "/key/k", "v")
	before := decode[api.Digest](t, g.must(g.nodes[0], "GET", "/digest", ""))
	const bad, gone, method = api.CodeBadRequest, api.CodeNotFound, api.CodeMethodNotAllowed
	for _, c := range []struct {
		method, target, body string
		header               []string
		status               int
		code                 api.Code
		want                 string
	}{
		{"GET", "/", "", nil, 404, gone, `"/"`},
		{"GET", "/keys", "", nil, 404, gone, `"/keys"`},
		{"GET", "//key/k", "", nil, 404, gone, `"//key/k"`},
		{"GET", "/members/", "", nil, 405, method, "/members/{id} takes DELETE"},
		{"DELETE", "/members/", "", nil, 400, bad, "which member"},
		{"DELETE", "/members/n%2F9", "", nil, 404, gone, `"n/9"`},
		{"PATCH", "/key/k", "", nil, 405, method, "DELETE, GET, HEAD, POST, PUT"},
		{"DELETE", "/key", "", nil, 405, method, "GET, HEAD, POST"},
		{"GET", "/join", "", nil, 405, method, "POST"},
		{"POST", "/status", "", nil, 405, method, "GET, HEAD"},
		{"GET", "/key/", "", nil, 400, bad, "the key is empty"},
		{"POST", "/key/", "v", nil, 400, bad, "the key is empty"},

		{"GET", "/key/k?consistancy=stale", "", nil, 400, bad, `"consistancy"`},
		{"GET", "/key/k?consistency=strong", "", nil, 400, bad, `"strong"`},
		{"GET", "/key/k?consistency=", "", nil, 400, bad, `consistency=""`},
		{"GET", "/key/k?consistency=stale&consistency=leader", "", nil, 400, bad, "2 times"},
		{"GET", "/key/k?consistency=stale;x", "", nil, 400, bad, "query"},
		{"GET", "/key/k?a=%zz", "", nil, 400, bad, "query"},
		{"POST", "/key/k?consistency=stale", "v", nil, 400, bad, `"consistency"`},
		{"GET", "/key?limit=0", "", nil, 400, bad, `limit="0"`},
		{"GET", "/key?limit=1001", "", nil, 400, bad, "1 to 1000"},
		{"GET", "/key?limit=ten", "", nil, 400, bad, `"ten"`},
		{"GET", "/key/k?timeout=0", "", nil, 400, bad, `timeout="0"`},
		{"GET", "/key/k?timeout=-1s", "", nil, 400, bad, `"-1s"`},
		{"GET", "/key/k?timeout=301", "", nil, 400, bad, "5m0s"},
		{"GET", "/key/k?timeout=NaN", "", nil, 400, bad, `"NaN"`},
		{"POST", "/key/k?timeout=", "v", nil, 400, bad, `timeout=""`},

		{"POST", "/key/k", "v", []string{"If-Match", `W/"7"`}, 400, bad, `W/`},
		{"POST", "/key/k", "v", []string{"If-Match", `"1", "2"`}, 400, bad, "one ETag"},
		{"POST", "/key/k", "v", []string{"If-Match", "1", "If-Match", "2"}, 400, bad, "twice"},
		{"POST", "/key/k", "v", []string{"If-Match", "1", "If-None-Match", "*"}, 400, bad, "one of them"},
		{"POST", "/key/k", "v", []string{"If-None-Match", "7"}, 400, bad, "only *"},
		{"DELETE", "/key/k", "", []string{"If-Match", "seven"}, 400, bad, `"seven"`},
		{"DELETE", "/key/k", "", []string{"If-Match", "+7"}, 400, bad, `"+7"`},
		{"GET", "/key/k", "", []string{"If-Match", "7"}, 400, bad, "POST, PUT and DELETE"},
		{"GET", "/key/k", "", []string{"If-None-Match", "x"}, 400, bad, `"x"`},
		{"GET", "/key", "", []string{"If-None-Match", "7"}, 400, bad, "/key/{key} only"},
		{"POST", "/key", `{"a":"1"}`, []string{"If-Match", "*"}, 400, bad, "/key/{key} only"},

		{"POST", "/key", ``, nil, 400, bad, "it is empty"},
		{"POST", "/key", `{}`, nil, 400, bad, "no pairs"},
		{"POST", "/key", `null`, nil, 400, bad, "not null"},
		{"POST", "/key", `["a"]`, nil, 400, bad, "not an array"},
		{"POST", "/key", `{"a":"1"`, nil, 400, bad, "in the middle"},
		{"POST", "/key", `{"a":"1",}`, nil, 400, bad, "at byte"},
		{"POST", "/key", `{"a":"1"} {}`, nil, 400, bad, "2 bytes after the end"},
		{"POST", "/key", `{"a":"1","b":"2","a":"3"}`, nil, 400, bad, `"a" stands there twice`},
		{"POST", "/key", `{"a":"1","\u0061":"3"}`, nil, 400, bad, `"a" stands there twice`},
		{"POST", "/key", `{"a":"1","b":2}`, nil, 400, bad, `the value of "b" is a number`},
		{"POST", "/key", `{"a":1e999}`, nil, 400, bad, `the value of "a" is a number`},
		{"POST", "/key", `{"a":{"b":"c"}}`, nil, 400, bad, `the value of "a" is an object`},
		{"POST", "/key", `{"a":null}`, nil, 400, bad, `the value of "a" is null`},
		{"POST", "/key", `{"":"1"}`, nil, 400, bad, "the key is empty"},
		{"POST", "/key", "{\"a\":\"\xff\"}", nil, 400, bad, "UTF-8 at byte 6"},
		{"POST", "/key", `{"a":"\ud83d"}`, nil, 400, bad, `"a": half of a surrogate pair`},
		{"POST", "/key", `{"a":"\udE00\ud83d"}`, nil, 400, bad, `"a": half of a surrogate pair`},
		{"POST", "/key", `{"x\ud83d":""}`, nil, 400, bad, "surrogate"},

		{"POST", "/join", `{"address":"h:1","http_address":"h:2"}`, nil, 400, bad, "id"},
		{"POST", "/join", `{"id":"n\u0000","address":"h:1","http_address":"h:2"}`, nil, 400, bad, "control"},
		{"POST", "/join", `{"id":"n","http_address":"h:2"}`, nil, 400, bad, "address"},
		{"POST", "/join", `{"id":"n","address":"h:1"}`, nil, 400, bad, "http_address"},
		{"POST", "/join", `{"id":"n","address":"nowhere","http_address":"h:2"}`, nil, 400, bad, `address "nowhere"`},
		{"POST", "/join", `{"id":"n","address":"0.0.0.0:1","http_address":"h:2"}`, nil, 400, bad, "others cannot dial it"},
		{"POST", "/join", `{"id":"n","address":"h:1","http_address":":2"}`, nil, 400, bad, "others cannot dial it"},
		{"POST", "/join", `{"id":"n","address":"h:1","http_address":"h:http"}`, nil, 400, bad, "65535"},
		{"POST", "/join", `{"id":"n","address":"h:1","http_address":"http://h:2"}`, nil, 400, bad, "host:port"},
		{"POST", "/join", `{"id":"n","adress":"h:1","http_address":"h:2"}`, nil, 400, bad, `"adress"`},
		{"POST", "/join", `{"id":"n","address":"h:1","http_address":"h:2","nonvoter":"yes"}`, nil, 400, bad, "want a bool, not a string"},
		{"POST", "/transfer", `{"id":"nobody"}`, nil, 404, gone, `"nobody"`},
		{"POST", "/transfer", `{"to":"node2"}`, nil, 400, bad, `"to"`},
		{"POST", "/transfer", `node2`, nil, 400, bad, "JSON"},
	} {
		r := g.do(g.nodes[1], c.method, c.target, c.body, c.header...)
		t.Run(fmt.Sprintf("%s %s %.40s %v", c.method, c.target, c.body, c.header), func(t *testing.T) {
			r.refused(t, c.status, c.code, c.want)
			if allow := r.Header.Get("Allow"); (allow != "") != (c.status == 405) || !strings.Contains(c.want, allow) && c.method != "GET" {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
	if after := decode[api.Digest](t, g.must(g.nodes[0], "GET", "/digest", "")); after != before {
		t.Errorf("refused requests changed something: %+v, then %+v", before, after)
	}
}

// raw sends bytes over a connection of its own and reads one answer.
func raw(t *testing.T, n *node, request string) response {
	t.Helper()
	c, err := net.Dial("tcp", n.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp, string(body)}
}

// TestBodiesThatDoNotCome sends headers only: what is too large is refused at
// once, what is late at the deadline.
func TestBodiesThatDoNotCome(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	raw(t, n, "PUT /key/k HTTP/1.1\r\nHost: n\r\nContent-Length: 67108865\r\n\r\n").
		refused(t, 413, api.CodeTooLarge, "67108865 bytes")
	raw(t, n, "POST /key HTTP/1.1\r\nHost: n\r\nContent-Length: 99999999999\r\n\r\n").
		refused(t, 413, api.CodeTooLarge, "at most 16777216")
	raw(t, n, "POST /join HTTP/1.1\r\nHost: n\r\nContent-Length: 65537\r\n\r\n").
		refused(t, 413, api.CodeTooLarge, "at most 65536")
	raw(t, n, "PUT /key/k?timeout=50ms HTTP/1.1\r\nHost: n\r\nContent-Length: 5\r\n\r\nval").
		refused(t, 504, api.CodeTimeout, "3 bytes did")
	if _, _, ok := n.store.Get("k"); ok {
		t.Error("a part of a value was written")
	}
}

// TestRawPaths asks for keys as no tidy client would.
func TestRawPaths(t *testing.T) {
	g := start(t, 1, nil)
	n := g.nodes[0]
	for path, key := range map[string]string{
		"/key//":          "/",
		"/key/..":         "..",
		"/key/../status":  "../status",
		"/key/a//b/./":    "a//b/./",
		"/key/%2e%2e%2F":  "../",
		"/key/a+b":        "a+b",
		"/key/%00%ff":     "\x00\xff",
		"/key/\"quoted\"": `"quoted"`,
		"/key/\xc3\xa9":   "é",
		"/key/k%3Fx?":     "k?x",
	} {
		r := raw(t, n, "PUT "+path+" HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\n\r\nv")
		if _, _, ok := n.store.Get(key); !ok || r.StatusCode != 200 {
			t.Errorf("PUT %s: %d %s; no key %q", path, r.StatusCode, r.body, key)
		}
	}
}
