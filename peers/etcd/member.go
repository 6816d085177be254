package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	psutil "github.com/shirou/gopsutil/v4/process"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/zap"

	"github.com/themilchenko/raftlab/bench/system"
	"github.com/themilchenko/raftlab/internal/child"
	"github.com/themilchenko/raftlab/internal/poll"
)

// memberArgument makes the program a member of etcd: what follows are etcd's own flags.
const memberArgument = "etcd-member"

// IsMember reports whether a command line is that of a member.
func IsMember(args []string) bool { return len(args) > 1 && args[1] == memberArgument }

// RunMember runs the official etcd server with the flags of a member's command line until
// it is told to end by a signal. It ends the process.
func RunMember(args []string) { etcdmain.Main(args[1:]) }

// quotaBytes is how large a member's store may grow: the largest that etcd recommends. With
// the 2 GiB that it ships with, a long load would end in an alarm, since etcd keeps every
// revision of a key until it is told to compact.
const quotaBytes = 8 << 30

// pollInterval is how often a member that starts is asked whether it serves.
const pollInterval = 20 * time.Millisecond

// stopTimeout is how long a member may take to end after SIGTERM.
const stopTimeout = 15 * time.Second

// member is one member: a process of this program, while it runs.
type member struct {
	id        string
	dir       string // of its data, with its log beside
	clientURL string
	peerURL   string
	command   []string

	mu      sync.Mutex
	process *process         // nil: it does not run and is not meant to
	client  *clientv3.Client // of this member alone; nil with process
	spent   time.Duration    // CPU time of its processes that have ended
}

var (
	_ system.Witness = (*member)(nil)
	_ system.Mortal  = (*member)(nil)
)

// ID implements system.Member.
func (m *member) ID() string { return m.id }

func (m *member) logPath() string { return m.dir + ".log" }

// arguments is the command line of a member: addresses, and where the data goes. All else
// is as etcd ships, but for the quota and what the cell says of timeouts and snapshots.
func (m *member) arguments(initialCluster, token string, flags []string) []string {
	return append([]string{
		memberArgument,
		"--name=" + m.id,
		"--data-dir=" + m.dir,
		"--listen-client-urls=" + m.clientURL, "--advertise-client-urls=" + m.clientURL,
		"--listen-peer-urls=" + m.peerURL, "--initial-advertise-peer-urls=" + m.peerURL,
		"--initial-cluster=" + initialCluster, "--initial-cluster-token=" + token, "--initial-cluster-state=new",
		fmt.Sprintf("--quota-backend-bytes=%d", quotaBytes),
	}, flags...)
}

// start starts the process of a member that does not run; it does not wait until it serves.
func (m *member) start() error {
	if _, _, err := m.ask(); err == nil {
		return fmt.Errorf("%s runs already", m.id)
	}
	client, err := connect(m.clientURL)
	if err != nil {
		return err
	}
	p, err := spawn(m.logPath(), m.command)
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", m.id, err), client.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process, m.client = p, client
	return nil
}

// connect returns a client with the settings that etcd's has by default; it says nothing of
// what it does.
func connect(urls ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: urls, Logger: zap.NewNop()})
}

// forget takes the process and the client from the member, so that its end is none of its
// own.
func (m *member) forget() (*process, *clientv3.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, c := m.process, m.client
	m.process, m.client = nil, nil
	return p, c
}

// end ends the process, if there is one, by a signal, and waits for it.
func (m *member) end(ctx context.Context, signal syscall.Signal) error {
	p, client := m.forget()
	if p == nil {
		return nil
	}
	if err := p.end(ctx, signal); err != nil {
		return errors.Join(fmt.Errorf("end %s: %w", m.id, err), client.Close())
	}
	m.mu.Lock()
	m.spent += p.State().UserTime() + p.State().SystemTime()
	m.mu.Unlock()
	return client.Close()
}

// Kill implements system.Mortal.
func (m *member) Kill(ctx context.Context) error { return m.end(ctx, syscall.SIGKILL) }

// Restart implements system.Mortal.
func (m *member) Restart(ctx context.Context) error {
	if err := m.start(); err != nil {
		return err
	}
	return m.waitServes(ctx)
}

// waitServes waits until the member knows a leader and answers.
func (m *member) waitServes(ctx context.Context) error {
	return poll.Until(ctx, pollInterval, func() (bool, error) {
		if err := m.check(); err != nil {
			return false, err
		}
		ask, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, err := m.status(ask)
		return err == nil && s.Leader != 0, nil
	})
}

// check returns an error if the process has ended on its own.
func (m *member) check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return nil
	}
	select {
	case <-m.process.Done():
		return fmt.Errorf("%s stopped: %s", m.id, m.process.State())
	default:
		return nil
	}
}

// pid returns the id of the member's process, 0 where none runs.
func (m *member) pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return 0
	}
	return m.process.PID()
}

// errDown: a member was asked that was killed.
var errDown = errors.New("it does not run")

// ask returns what asks the member, and nobody else.
func (m *member) ask() (pb.MaintenanceClient, *clientv3.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil {
		return nil, nil, fmt.Errorf("%s: %w", m.id, errDown)
	}
	return pb.NewMaintenanceClient(m.client.ActiveConnection()), m.client, nil
}

func (m *member) status(ctx context.Context) (*pb.StatusResponse, error) {
	ask, _, err := m.ask()
	if err != nil {
		return nil, err
	}
	s, err := ask.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", m.id, err)
	}
	return s, nil
}

// Status implements system.Witness.
func (m *member) Status(ctx context.Context) (system.Status, error) {
	s, err := m.status(ctx)
	if err != nil {
		return system.Status{}, err
	}
	_, client, err := m.ask()
	if err != nil {
		return system.Status{}, err
	}
	list, err := pb.NewClusterClient(client.ActiveConnection()).MemberList(ctx, &pb.MemberListRequest{}) // as it knows it
	if err != nil {
		return system.Status{}, fmt.Errorf("members that %s knows: %w", m.id, err)
	}
	out := system.Status{ID: m.id, Leads: s.Leader == s.Header.MemberId, Term: s.RaftTerm, CommitIndex: s.RaftIndex}
	for _, other := range list.Members {
		if other.ID == s.Leader {
			out.Leader = other.Name
		}
		if !other.IsLearner {
			out.Voters++
		}
	}
	return out, nil
}

// Ready implements system.Witness: a linearizable read waits until the member has applied
// all that the leader has committed.
func (m *member) Ready(ctx context.Context) error {
	_, client, err := m.ask()
	if err != nil {
		return err
	}
	_, err = client.Get(ctx, "ready")
	return err
}

// Sent implements system.Witness. The members are told of each other, and send nothing to
// find each other.
func (m *member) Sent(context.Context) (system.Traffic, error) {
	return system.Traffic{At: time.Now()}, nil
}

// syncsMetric counts the flushes of etcd's write-ahead log. Its store (bbolt) is flushed
// apart from that, in batches, and no write waits for it.
const syncsMetric = "etcd_disk_wal_fsync_duration_seconds"

// syncs returns how often the member has flushed its log since it was started.
func (m *member) syncs(ctx context.Context) (uint64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.clientURL+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport, Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", m.id, err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", m.id, err)
	}
	f := families[syncsMetric]
	if f == nil || len(f.Metric) != 1 || f.Metric[0].GetHistogram() == nil {
		return 0, fmt.Errorf("metrics of %s: no %s: this is no etcd that is known here", m.id, syncsMetric)
	}
	return f.Metric[0].GetHistogram().GetSampleCount(), nil
}

// cpu returns the CPU time of all processes that the member has had.
func (m *member) cpu(ctx context.Context) (time.Duration, error) {
	m.mu.Lock()
	p, spent := m.process, m.spent
	m.mu.Unlock()
	if p == nil {
		return spent, nil
	}
	now, err := psutil.NewProcessWithContext(ctx, int32(p.PID()))
	if err != nil {
		return 0, fmt.Errorf("find the process of %s: %w", m.id, err)
	}
	times, err := now.TimesWithContext(ctx)
	if err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", m.id, err)
	}
	return spent + time.Duration((times.User+times.System)*float64(time.Second)), nil
}

// process is a process of this program that ends with it.
type process struct{ *child.Process }

// spawn starts this program with other arguments, its output appended to a file.
func spawn(logPath string, arguments []string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(logPath), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	command := exec.Command(self, arguments...)
	command.Stdout, command.Stderr = log, log
	// What the user has set for another etcd is none of this one's.
	command.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ETCD_") })
	p, err := child.Start(command)
	if err != nil {
		return nil, err
	}
	return &process{p}, nil
}

// end sends a signal, and SIGKILL to what has not ended in time, and waits for the end.
func (p *process) end(ctx context.Context, signal syscall.Signal) error {
	if err := p.Signal(signal); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	select {
	case <-p.Done():
		return nil
	case <-ctx.Done():
		return p.Kill()
	}
}
