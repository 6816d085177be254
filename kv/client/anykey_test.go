package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// TestAnyKeyAndValue sends keys and values of any bytes to a server that takes
// the key from the path as it was sent.
func TestAnyKeyAndValue(t *testing.T) {
	var mu sync.Mutex
	held := map[string]string{}
	n := serve(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _, _ := strings.Cut(r.RequestURI, "?")
		key, err := url.PathUnescape(strings.TrimPrefix(raw, "/key/"))
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(strings.TrimPrefix(raw, "/key/"), "/") || strings.Contains(raw, ".") {
			t.Errorf("path %q could be tidied up", raw)
		}
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set(api.HeaderIndex, "1")
		w.Header().Set(api.HeaderNode, "n")
		switch r.Method {
		case http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			held[key] = string(body)
		case http.MethodDelete:
			delete(held, key)
		default:
			value, ok := held[key]
			if !ok {
				w.WriteHeader(http.StatusNotFound)
			}
			io.WriteString(w, value)
		}
	})
	c := open(t, n.address)
	ctx := within(t, time.Minute)
	awkward := []string{".", "..", "/", "//", "a/../b", "%2E", "a b+c", "?", "#", "\x00", "\xff\xfe", "/key/", "ключ"}
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.OneOf(rapid.SampledFrom(awkward),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) string { return string(b) })).Draw(rt, "key")
		value := rapid.SliceOf(rapid.Byte()).Draw(rt, "value")
		if _, err := c.Set(ctx, key, value); err != nil {
			rt.Fatal(err)
		}
		mu.Lock()
		got, ok := held[key]
		mu.Unlock()
		if !ok || got != string(value) {
			rt.Fatalf("the server holds %q, %v under %q", got, ok, key)
		}
		if v, err := c.Get(ctx, key, client.Stale); err != nil || string(v.Data) != string(value) {
			rt.Fatalf("got %q, %v", v.Data, err)
		}
		if _, err := c.Delete(ctx, key); err != nil {
			rt.Fatal(err)
		}
		if _, err := c.Get(ctx, key, client.Stale); !errors.Is(err, core.ErrNotFound) {
			rt.Fatalf("after delete: %v", err)
		}
	})
}
