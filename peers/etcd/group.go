package etcd

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/bench/workload"
	"github.com/themilchenko/raftlab/cluster/clusterfile"
	"github.com/themilchenko/raftlab/core/errkind"
	"github.com/themilchenko/raftlab/internal/poll"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/client"
)

// group is a group of members of etcd.
type group struct {
	spec    system.Spec
	members []*member

	// One client serves the whole load, as one serves a program that uses etcd. It is told
	// of the first member, which leads, so that no request is forwarded; and of all from
	// when that one does not answer.
	client *clientv3.Client
	alone  atomic.Bool // only the first member's address is in use
}

var _ system.Group = (*group)(nil)

func newGroup(s system.Spec) (*group, error) {
	flags, err := tuning(s.Cell.Raft)
	if err != nil {
		return nil, err
	}
	file, err := clusterfile.Generate(s.Cell.Cluster.Nodes, "127.0.0.1") // for its free ports
	if err != nil {
		return nil, err
	}
	g := &group{spec: s}
	var initial []string
	for _, n := range file.Nodes {
		m := &member{
			id: n.Alias, dir: filepath.Join(s.Dir, n.Alias),
			clientURL: "http://" + n.HTTPAddress, peerURL: "http://" + n.RPCAddress,
		}
		g.members = append(g.members, m)
		initial = append(initial, m.id+"="+m.peerURL)
	}
	token := "raftlab-" + rand.Text()
	for _, m := range g.members {
		m.command = m.arguments(strings.Join(initial, ","), token, flags)
	}
	g.client, err = connect(g.members[0].clientURL)
	g.alone.Store(true)
	return g, err
}

// Start starts all members at once, as etcd's static bootstrap does, and returns once each
// knows a leader.
func (g *group) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.spec.StartTimeout())
	defer cancel()
	if g.spec.Starting != nil {
		g.spec.Starting()
	}
	for _, m := range g.members {
		if err := m.start(); err != nil {
			return err
		}
	}
	for _, m := range g.members {
		if err := m.waitServes(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w", m.id, err)
		}
	}
	return nil
}

// Lead makes the first member the leader, should another have been elected.
func (g *group) Lead(ctx context.Context) error {
	return poll.Until(ctx, pollInterval, func() (bool, error) {
		first, err := g.members[0].status(ctx)
		if err != nil {
			return false, err
		}
		if first.Leader == first.Header.MemberId {
			g.client.SetEndpoints(g.members[0].clientURL)
			g.alone.Store(true)
			return true, nil
		}
		for _, m := range g.members[1:] {
			s, err := m.status(ctx)
			if err != nil || s.Leader != s.Header.MemberId {
				continue
			}
			ask, _, err := m.ask()
			if err != nil {
				return false, err
			}
			// It fails where the leader has changed meanwhile: look again.
			_, _ = ask.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: first.Header.MemberId})
		}
		return false, nil
	})
}

func (g *group) Members() []system.Member {
	out := make([]system.Member, len(g.members))
	for i, m := range g.members {
		out[i] = m
	}
	return out
}

// Set writes all keys in one transaction, which is one entry of the log.
func (g *group) Set(ctx context.Context, ops []kv.Op) error {
	pairs := map[string][]byte{}
	for _, op := range ops {
		pairs[op.Key] = op.Value
	}
	_, err := g.client.Txn(ctx).Then(puts(pairs)...).Commit()
	return err
}

func puts(pairs map[string][]byte) []clientv3.Op {
	var out []clientv3.Op
	for key, value := range pairs {
		out = append(out, clientv3.OpPut(key, string(value)))
	}
	return out
}

// Observe looks at the members that run. Commands are the revisions of the first: each
// write that changed anything made one, whether of one key or of several.
func (g *group) Observe(ctx context.Context) (system.Observation, error) {
	o := system.Observation{At: time.Now(), ClientsCPU: system.ProcessCPU()}
	o.CPU = o.ClientsCPU
	for i, m := range g.members {
		cpu, err := m.cpu(ctx)
		if err != nil {
			return o, err
		}
		o.CPU += cpu
		s, err := m.status(ctx)
		if errors.Is(err, errDown) {
			continue
		}
		if err != nil {
			return o, err
		}
		if i == 0 {
			o.Commands = uint64(s.Header.Revision)
		}
		if s.Leader == s.Header.MemberId {
			o.Leadership = system.Leadership{ID: m.id, Term: s.RaftTerm}
		}
		syncs, err := m.syncs(ctx)
		if err != nil {
			return o, err
		}
		o.Syncs = append(o.Syncs, syncs)
	}
	return o, nil
}

// Usage implements system.Group. The members' flushes are left out: only they know, and
// would have to be asked.
func (g *group) Usage() (system.Usage, error) {
	u := system.NewUsage(g.spec.Dir)
	for _, m := range g.members {
		if pid := m.pid(); pid > 0 {
			if err := u.AddProcess(pid); err != nil {
				return u, err
			}
		}
	}
	return u, nil
}

// Disagreeing compares what etcd itself compares of members: the hash of all revisions up
// to the newest of the first.
func (g *group) Disagreeing(ctx context.Context) (behind int, err error) {
	first, err := g.members[0].status(ctx)
	if err != nil {
		return 0, err
	}
	for _, m := range g.members[1:] {
		s, err := m.status(ctx)
		if err != nil {
			return 0, err
		}
		if s.Header.Revision != first.Header.Revision {
			behind++ // cheap to see: nothing is hashed while they catch up
		}
	}
	if behind > 0 {
		return behind, nil
	}
	hashes := make([]*pb.HashKVResponse, len(g.members))
	for i, m := range g.members {
		ask, _, err := m.ask()
		if err != nil {
			return 0, err
		}
		if hashes[i], err = ask.HashKV(ctx, &pb.HashKVRequest{Revision: first.Header.Revision}); err != nil {
			return 0, fmt.Errorf("hash of %s: %w", m.id, err)
		}
		if hashes[i].Hash != hashes[0].Hash || hashes[i].CompactRevision != hashes[0].CompactRevision {
			behind++
		}
	}
	return behind, nil
}

func (g *group) Check() error {
	for _, m := range g.members {
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// Explain adds the last line of a dead member's log: it is removed with the trial's data.
// A disk that is full is known by what the log says.
func (g *group) Explain(err error) error {
	for _, m := range g.members {
		if m.check() == nil {
			continue
		}
		text, readErr := os.ReadFile(m.logPath())
		if readErr != nil {
			continue
		}
		if line := lastLine(string(text)); line != "" {
			err = fmt.Errorf("%w; last in the log of %s: %s", err, m.id, line)
		}
		if bytes.Contains(text, []byte(syscall.ENOSPC.Error())) {
			err = fmt.Errorf("%w: %w", syscall.ENOSPC, err)
		}
	}
	return err
}

// Close stops all members at once. The data stays.
func (g *group) Close() error {
	errs := make([]error, len(g.members))
	var all sync.WaitGroup
	for i, m := range g.members {
		all.Go(func() { errs[i] = m.end(context.Background(), syscall.SIGTERM) })
	}
	all.Wait()
	return errors.Join(append(errs, g.client.Close())...)
}

// Target drives the leader. A read that may be stale is answered by the member that is
// asked from what it has (etcd calls it serializable); another asks the leader, which makes
// sure by a round of heartbeats that it still is one.
func (g *group) Target(level string) workload.Target {
	t := &target{group: g}
	if level == experiment.ReadStale {
		t.reads = append(t.reads, clientv3.WithSerializable())
	}
	return t
}

type target struct {
	group *group
	reads []clientv3.OpOption
}

// Do implements workload.Target.
func (t *target) Do(ctx context.Context, op *workload.Op) error {
	err := t.do(ctx, op)
	if unanswered(err) && t.group.alone.CompareAndSwap(true, false) {
		var urls []string
		for _, m := range t.group.members {
			urls = append(urls, m.clientURL)
		}
		t.group.client.SetEndpoints(urls...)
	}
	if errors.As(err, new(*client.ConditionError)) {
		return fmt.Errorf("%w: %w", workload.ErrCondition, err)
	}
	if !op.Kind.Reads() && unsure(err) {
		return fmt.Errorf("%w: %w", errkind.ErrOutcomeUnknown, err)
	}
	return err
}

// unsure tells that a write may have taken effect: there is no answer, or one of a server
// that does not know either. What etcd refuses otherwise it has not proposed.
func unsure(err error) bool {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code() == codes.Unavailable || known.Code() == codes.DeadlineExceeded
	}
	return err != nil && !errors.As(err, new(*client.ConditionError))
}

// unanswered tells that nobody was there, or that no answer came in time.
func unanswered(err error) bool {
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		return known.Code() == codes.Unavailable
	}
	return status.Code(err) == codes.Unavailable || errors.Is(err, context.DeadlineExceeded)
}

func (t *target) do(ctx context.Context, op *workload.Op) error {
	c := t.group.client
	switch op.Kind {
	case workload.Write:
		r, err := c.Put(ctx, op.Key, string(op.Value))
		if err != nil {
			return err
		}
		op.Index = uint64(r.Header.Revision)
		return nil
	case workload.Delete:
		r, err := c.Delete(ctx, op.Key)
		if err != nil {
			return err
		}
		op.Index = uint64(r.Header.Revision)
		return nil
	case workload.WriteBatch:
		return transact(op, c.Txn(ctx).Then(puts(op.Batch)...))
	case workload.CompareAndSet:
		same := clientv3.Compare(clientv3.ModRevision(op.Key), "=", int64(op.IfIndex)) // 0: it is absent
		return transact(op, c.Txn(ctx).If(same).Then(clientv3.OpPut(op.Key, string(op.Value))))
	default:
		return t.read(ctx, op)
	}
}

// transact commits a transaction and says so if its condition did not hold.
func transact(op *workload.Op, txn clientv3.Txn) error {
	r, err := txn.Commit()
	if err != nil {
		return err
	}
	if !r.Succeeded {
		return &client.ConditionError{}
	}
	op.Index = uint64(r.Header.Revision)
	return nil
}

func (t *target) read(ctx context.Context, op *workload.Op) error {
	if op.Lease {
		return errors.New("etcd has no reads by a leader's lease")
	}
	if op.Kind == workload.Scan {
		after := append([]clientv3.OpOption{clientv3.WithFromKey(), clientv3.WithLimit(int64(op.Limit))}, t.reads...)
		_, err := t.group.client.Get(ctx, op.Key+"\x00", after...)
		return err
	}
	r, err := t.group.client.Get(ctx, op.Key, t.reads...)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 0 {
		return fmt.Errorf("read %s: %w", op.Key, system.ErrMissing)
	}
	op.Value, op.Index = r.Kvs[0].Value, uint64(r.Kvs[0].ModRevision)
	return nil
}
