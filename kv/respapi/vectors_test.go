package respapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// vector is a conversation on a connection of its own, with an empty map: what is sent and
// what is answered, byte for byte.
type vector struct {
	Name  string
	Steps []struct {
		Do     []string // as an array of bulk strings
		Send   string   // or as it is
		Want   string
		Closed bool // the server ends the connection then
	}
}

// TestVectors: docs/resp.md, as other servers can be tested by it too. On a follower
// everything is answered alike.
func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	nodes := start(t, 3, nil)
	for i, n := range nodes[:2] {
		for _, v := range vectors {
			t.Run(fmt.Sprintf("%s on node %d", v.Name, i+1), func(t *testing.T) {
				wipe(t, n)
				c := dial(t, n.address)
				for _, s := range v.Steps {
					if s.Do != nil {
						s.Send = encode(s.Do)
					}
					c.say(s.Send)
					c.want(s.Want)
					if s.Closed {
						if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
							t.Fatalf("after %q: %q, %v; want the end", s.Send, rest, err)
						}
					}
				}
			})
		}
	}
}

// wipe deletes all keys.
func wipe(t *testing.T, n *node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := n.api.Barrier(ctx, "linearizable"); err != nil {
		t.Fatal(err)
	}
	words := []string{"DEL"}
	for _, p := range n.store.Scan("", "", 0) {
		words = append(words, p.Key)
	}
	if len(words) > 1 {
		c := dial(t, n.address)
		c.say(encode(words))
		c.want(fmt.Sprintf(":%d\r\n", len(words)-1))
	}
}

func encode(words []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// peer is a client's end of a connection.
type peer struct {
	net.Conn
	t testing.TB
}

func dial(t testing.TB, address string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &peer{c, t}
}

func (p *peer) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) want(text string) {
	p.t.Helper()
	got := make([]byte, len(text))
	n, err := io.ReadFull(p, got)
	if err != nil || !bytes.Equal(got, []byte(text)) {
		p.t.Fatalf("answered %q, %v; want %q", got[:n], err, text)
	}
}

func dialRaw(t testing.TB, address string) (net.Conn, error) {
	t.Helper()
	return net.DialTimeout("tcp", address, time.Second)
}
