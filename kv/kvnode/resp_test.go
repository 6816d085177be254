package kvnode

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/themilchenko/raftlab/kv/client"
)

// respNode is a process that serves the Redis protocol.
type respNode struct {
	*process
	id, resp string
}

// respGroup starts a group of three; the first leads.
func respGroup(t *testing.T) []respNode {
	t.Helper()
	dir := t.TempDir()
	var nodes []respNode
	first := ""
	for i := range 3 {
		id := fmt.Sprintf("node%d", i+1)
		args := []string{"--id", id, "--haddr", "127.0.0.1:0", "--raddr", "127.0.0.1:0", "--resp", "127.0.0.1:0", "--backend", "bolt", "--backend-option", "no_sync=true"}
		if first != "" {
			args = append(args, "--join", first)
		}
		p, err := launch(dir, filepath.Join(dir, id+".log"), append(args, filepath.Join(dir, id))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		http := found(t, p, `msg="HTTP listening" .*advertised=(\S+)`)
		nodes = append(nodes, respNode{p, id, found(t, p, `msg="Redis protocol listening" .*advertised=(\S+)`)})
		found(t, p, `msg="(leader is node1)"`)
		if first == "" {
			first = http
		}
	}
	awaitVoters(t, first)
	return nodes
}

func found(t *testing.T, p *process, pattern string) string {
	t.Helper()
	match, err := p.find(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return match[1]
}

func awaitVoters(t *testing.T, http string) {
	t.Helper()
	c, err := client.New([]string{http}, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		members, err := c.Members(t.Context())
		voters := 0
		for _, m := range members {
			if m.Voter {
				voters++
			}
		}
		if voters == 3 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no group of three voters: %v, %v", members, err)
		}
	}
}

// TestRedisClients: clients that know nothing of kvnode work with it, on any node, and
// after the leader's death.
func TestRedisClients(t *testing.T) {
	nodes := respGroup(t)
	t.Run("go-redis", func(t *testing.T) {
		for _, protocol := range []int{2, 3} {
			for _, n := range nodes[:2] {
				goRedis(t, n.resp, protocol)
			}
		}
	})
	t.Run("redis-cli", func(t *testing.T) { redisCLI(t, nodes[1].resp) })
	t.Run("redis-benchmark", func(t *testing.T) { redisBenchmark(t, nodes[0].resp) })
	t.Run("the leader dies", func(t *testing.T) { leaderDies(t, nodes) })
}

func goRedis(t *testing.T, address string, protocol int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := redis.NewClient(&redis.Options{Addr: address, Protocol: protocol, MaxRetries: -1, ContextTimeoutEnabled: true})
	defer c.Close()
	key := fmt.Sprintf("go-redis:%s:%d", address, protocol)
	if err := c.Set(ctx, key, "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Incr(ctx, key).Result(); err != nil || got != 2 {
		t.Fatalf("incr: %d, %v", got, err)
	}
	if ok, err := c.SetNX(ctx, key, "3", 0).Result(); err != nil || ok {
		t.Fatalf("setnx of what is there: %t, %v", ok, err)
	}
	if _, err := c.Get(ctx, key+":none").Result(); !errors.Is(err, redis.Nil) {
		t.Fatalf("get of nothing: %v", err)
	}
	pipe := c.Pipeline()
	var sets []*redis.StatusCmd
	for i := range 100 {
		sets = append(sets, pipe.Set(ctx, fmt.Sprintf("%s:%03d", key, i), i, 0))
	}
	last := pipe.Get(ctx, key+":099")
	if _, err := pipe.Exec(ctx); err != nil || last.Val() != "99" || sets[50].Val() != "OK" {
		t.Fatalf("pipeline: %v, %q, %q", err, last.Val(), sets[50].Val())
	}
	tx := c.TxPipeline()
	tx.Set(ctx, key+":t", "v", 0)
	deleted := tx.Del(ctx, key+":001", key+":nothing")
	if _, err := tx.Exec(ctx); err != nil || deleted.Val() != 1 {
		t.Fatalf("transaction: %v, deleted %d", err, deleted.Val())
	}
	n := 0
	for it := c.Scan(ctx, 0, key+":*", 7).Iterator(); it.Next(ctx); n++ {
	}
	if n != 100 { // 100 without one, and :t
		t.Fatalf("scan tells %d keys", n)
	}
	if info, err := c.Info(ctx, "raft").Result(); err != nil || !strings.Contains(info, "raft_leader:node1") {
		t.Fatalf("info: %v\n%s", err, info)
	}
}

// tool runs one of Redis's own, where it is installed.
func tool(t *testing.T, name, address string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (Debian: redis-tools)", name)
	}
	host, port, _ := strings.Cut(address, ":")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func redisCLI(t *testing.T, address string) {
	for _, x := range []struct{ command, want string }{
		{"set cli hello", "OK"}, {"get cli", "hello"}, {"incr cli", "ERR value is not an integer or out of range"},
		{"mset cli:1 a cli:2 b", "OK"}, {"keys cli:*", "cli:1\ncli:2"}, {"raft.readlevel", "linearizable"}, {"del cli:1 cli:2", "2"},
	} {
		if got := tool(t, "redis-cli", address, strings.Fields(x.command)...); got != x.want {
			t.Errorf("redis-cli %s: %q, want %q", x.command, got, x.want)
		}
	}
}

func redisBenchmark(t *testing.T, address string) {
	out := tool(t, "redis-benchmark", address, "-t", "ping,set,get,incr,mset", "-c", "8", "-n", "200", "-P", "4", "-r", "1000", "--csv")
	lines := 0
	for line := range strings.Lines(out) {
		cells := strings.Split(strings.ReplaceAll(line, `"`, ""), ",")
		if rate, err := strconv.ParseFloat(cells[min(1, len(cells)-1)], 64); err == nil && rate > 0 {
			lines++
		}
	}
	if lines != 6 { // ping is two
		t.Errorf("redis-benchmark:\n%s", out)
	}
}

// leaderDies: many callers share the client's connections; what was acknowledged is there
// after the leader's death, and they go on with the next one.
func leaderDies(t *testing.T, nodes []respNode) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.NewRESP([]string{nodes[2].resp, nodes[1].resp, nodes[0].resp}, client.Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const callers = 20
	acked, after := make([]int, callers), make(chan error, callers)
	killed := make(chan struct{})
	for w := range callers {
		go func() {
			told := func() bool {
				select {
				case <-killed:
					return true
				default:
					return false
				}
			}
			for i := 0; ; i++ {
				late := told()
				_, err := c.Set(ctx, fmt.Sprintf("die:%d", w), []byte(strconv.Itoa(i)))
				switch {
				case err == nil:
					acked[w] = i
				case !errors.Is(err, client.ErrOutcomeUnknown):
					after <- fmt.Errorf("caller %d: %w", w, err)
					return
				}
				if err == nil && late {
					after <- nil
					return
				}
			}
		}()
	}
	for c.Leader() != nodes[0].resp && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	nodes[0].kill()
	close(killed)
	for range callers {
		if err := <-after; err != nil {
			t.Error(err)
		}
	}
	for w := range callers {
		v, err := c.Get(ctx, fmt.Sprintf("die:%d", w), client.Linearizable)
		if got, _ := strconv.Atoi(string(v.Data)); err != nil || got < acked[w] {
			t.Errorf("caller %d: %d was acknowledged, and %d is there, %v", w, acked[w], got, err)
		}
	}
	if c.Leader() == nodes[0].resp {
		t.Error("the dead leader is taken for one")
	}
}
