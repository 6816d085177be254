//go:build linux

package hunt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv/api"
	"github.com/themilchenko/raftlab/kv/client"
)

// target is whom a worker asks.
type target interface {
	workload.Target
	Close() error
}

// open returns what the worker asks: any node through kv/client, or its one as a program
// that knows only the protocol.
func (w *worker) open(endpoints []string) (target, error) {
	switch resp := w.load.group.cfg.overRESP(); {
	case w.node >= 0 && resp:
		return plainRESP{redis.NewClient(&redis.Options{Addr: endpoints[w.node], MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ContextTimeoutEnabled: true})}, nil
	case w.node >= 0:
		return &plain{endpoint: endpoints[w.node], client: http.Client{Transport: &http.Transport{}}}, nil
	case resp:
		c, err := client.NewRESP(endpoints, client.Options{})
		return library{c, func(ctx context.Context, op *workload.Op) error {
			return c.SetIfEqual(ctx, op.Key, op.Value, op.Expect)
		}}, err
	}
	c, err := client.New(endpoints, client.Options{})
	return library{c, func(ctx context.Context, op *workload.Op) (err error) {
		op.Index, err = c.CompareAndSet(ctx, op.Key, op.Value, op.IfIndex)
		return err
	}}, err
}

// library asks through kv/client.
type library struct {
	client.Map
	compareAndSet func(context.Context, *workload.Op) error
}

// Do implements workload.Target.
func (l library) Do(ctx context.Context, op *workload.Op) (err error) {
	switch {
	case op.Kind == workload.Read:
		consistency := client.Linearizable
		if op.Lease {
			consistency = client.Leader
		}
		var v client.Value
		v, err = l.Get(ctx, op.Key, consistency)
		op.Value, op.Index = v.Data, v.Index
		if errors.Is(err, core.ErrNotFound) {
			return nil
		}
	case op.Kind == workload.Delete:
		op.Index, err = l.Delete(ctx, op.Key)
	case op.Kind == workload.Write:
		op.Index, err = l.Set(ctx, op.Key, op.Value)
	case len(op.Expect) == 0:
		op.Index, err = l.SetIfAbsent(ctx, op.Key, op.Value)
	default:
		err = l.compareAndSet(ctx, op)
	}
	return err
}

// plainRESP asks one node over the Redis protocol, as a client library made for Redis does.
type plainRESP struct{ *redis.Client }

// Do implements workload.Target.
func (p plainRESP) Do(ctx context.Context, op *workload.Op) error {
	var err error
	switch op.Kind {
	case workload.Read:
		level := "linearizable"
		if op.Lease {
			level = "lease"
		}
		both := p.Pipeline()
		set, get := both.Do(ctx, "RAFT.READLEVEL", level), both.Get(ctx, op.Key)
		_, _ = both.Exec(ctx) // each says by itself
		if err = set.Err(); err == nil {
			op.Value, err = get.Bytes()
		}
		if errors.Is(err, redis.Nil) {
			return nil
		}
	case workload.Delete:
		err = p.Del(ctx, op.Key).Err()
	default:
		words := []any{"SET", op.Key, op.Value}
		switch {
		case op.Kind != workload.CompareAndSet:
		case len(op.Expect) == 0:
			words = append(words, "NX")
		default:
			words = append(words, "IFEQ", op.Expect)
		}
		err = p.Client.Do(ctx, words...).Err()
	}
	var told redis.Error
	switch {
	case err == nil, errors.Is(err, syscall.ECONNREFUSED):
		return err
	case errors.Is(err, redis.Nil):
		return client.ErrCondition
	case errors.As(err, &told):
		prefix, message, _ := strings.Cut(told.Error(), " ")
		return &client.RESPError{Endpoint: p.Options().Addr, Prefix: prefix, Message: message}
	}
	return fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
}

// plain asks one node over HTTP, as docs/http-api.md says.
type plain struct {
	endpoint string
	client   http.Client
}

// Close ends the connections.
func (p *plain) Close() error {
	p.client.CloseIdleConnections()
	return nil
}

// Do implements workload.Target.
func (p *plain) Do(ctx context.Context, op *workload.Op) error {
	r, err := p.request(ctx, op)
	if err != nil {
		return err
	}
	response, err := p.client.Do(r)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", core.ErrOutcomeUnknown, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	var refusal api.Error
	switch read := op.Kind == workload.Read; {
	case response.StatusCode == http.StatusOK && read && err == nil:
		op.Value = body
		index, _, _ := strings.Cut(strings.Trim(response.Header.Get("ETag"), `"`), "-") // what follows says that it is of bytes
		op.Index, err = strconv.ParseUint(index, 10, 64)
		return err
	case response.StatusCode == http.StatusOK && !read:
		op.Index, _ = strconv.ParseUint(response.Header.Get(api.HeaderIndex), 10, 64)
		return nil
	case response.StatusCode == http.StatusNotFound && read && err == nil && !bytes.Contains(body, []byte(`"code"`)):
		return nil
	case err != nil || json.Unmarshal(body, &refusal) != nil || !refusal.Code.NotDone():
		err = core.ErrOutcomeUnknown
	case refusal.Code == api.CodeConditionFailed:
		err = client.ErrCondition
	default:
		err = errors.New("refused")
	}
	return fmt.Errorf("%w: %s: %s", err, response.Status, body)
}

func (p *plain) request(ctx context.Context, op *workload.Op) (*http.Request, error) {
	method := map[workload.Kind]string{workload.Read: http.MethodGet, workload.Delete: http.MethodDelete}[op.Kind]
	var body io.Reader
	if method == "" {
		method, body = http.MethodPut, bytes.NewReader(op.Value)
	}
	url := fmt.Sprintf("http://%s/key/%s?timeout=%s", p.endpoint, op.Key, requestTime-100*time.Millisecond)
	if op.Lease {
		url += "&consistency=leader"
	}
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/octet-stream")
	r.Header.Set("Content-Type", "application/octet-stream")
	switch {
	case op.Kind != workload.CompareAndSet:
	case op.IfIndex == 0:
		r.Header.Set("If-None-Match", "*")
	default:
		r.Header.Set("If-Match", fmt.Sprintf(`"%d"`, op.IfIndex))
	}
	return r, nil
}
