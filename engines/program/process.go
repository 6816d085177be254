package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/themilchenko/raftlab/internal/child"
	"github.com/themilchenko/raftlab/internal/poll"
)

const (
	// StopTime is how long a member may take to end after SIGTERM.
	StopTime = 10 * time.Second
	// readyPause is how often a member is asked whether it is ready.
	readyPause = 20 * time.Millisecond
	askTime    = 2 * time.Second
)

// Address is where a member is reached.
type Address struct{ ID, At string }

// Spec says what a member is started with.
type Spec struct {
	Path        string // of the program
	ID          string
	Raft, RESP  string            // what it listens on, host:port
	Dir         string            // of its data; the settings are written beside it, to Dir.settings
	Members     []Address         // the whole group, the same for all
	RESPMembers []Address         // where each serves clients; may be left out
	Settings    map[string]string // without: what the program recommends
	Env         []string          // added to that of this process
	Log         string            // file to which its output is appended
	// Arguments makes the command line, for a member that takes other flags than those of
	// the page. The file of the settings may be empty: there are none.
	Arguments func(s *Spec, settings string) []string
}

// arguments is the command line of docs/engine-programs.md.
func (s *Spec) arguments(settings string) []string {
	args := []string{"--id", s.ID, "--raft", s.Raft, "--resp", s.RESP, "--data", s.Dir, "--members", Join(s.Members)}
	if len(s.RESPMembers) > 0 {
		args = append(args, "--resp-members", Join(s.RESPMembers))
	}
	if settings != "" {
		args = append(args, "--settings", settings)
	}
	return args
}

// Join is a list of members as programs take it.
func Join(members []Address) string {
	var list []string
	for _, m := range members {
		list = append(list, m.ID+"="+m.At)
	}
	return strings.Join(list, ",")
}

// Process is a member that was started. Its methods are safe for concurrent use.
type Process struct {
	spec     Spec
	child    *child.Process
	logBegin int64
}

// Start starts a member, in a process group of its own, that dies with this process on
// Linux. It does not wait until the member serves: see [Process.Ready]. Whoever starts one
// ends it, by Kill or Stop. ctx is for the start only.
func Start(ctx context.Context, s Spec) (*Process, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	p, err := launch(s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.ID, err)
	}
	return p, nil
}

func launch(s Spec) (*Process, error) {
	for _, file := range []string{s.Dir, s.Log} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
	}
	args, err := s.commandLine()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	p := &Process{spec: s}
	if p.logBegin, err = log.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	cmd := exec.Command(s.Path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), s.Env...)
	p.child, err = start(cmd)
	return p, err
}

// commandLine writes the settings, where there are any, and returns the arguments.
func (s *Spec) commandLine() ([]string, error) {
	settings := ""
	if len(s.Settings) > 0 {
		settings = s.Dir + ".settings"
		if err := WriteSettings(settings, s.Settings); err != nil {
			return nil, err
		}
	}
	if s.Arguments != nil {
		return s.Arguments(s, settings), nil
	}
	return s.arguments(settings), nil
}

// Try starts a member that is to end by itself, as one of wrong usage does, with more
// arguments, and returns its exit code and what it has written to standard error. One that
// goes on is killed at the end of ctx.
func (s *Spec) Try(ctx context.Context, more ...string) (code int, stderr string, err error) {
	args, err := s.commandLine()
	if err != nil {
		return 0, "", err
	}
	_, stderr, err = Output(ctx, s.Path, append(args, more...)...)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ctx.Err() == nil {
		return ended.ExitCode(), stderr, nil
	}
	return 0, stderr, err
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.child.PID() }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.child.Done() }

// ExitCode returns what the process ended with, -1 while it runs or if a signal ended it.
func (p *Process) ExitCode() int {
	if state := p.child.State(); state != nil {
		return state.ExitCode()
	}
	return -1
}

// Err returns what the process ended with, with the last line of its log: nil for exit code
// 0, and before its end.
func (p *Process) Err() error {
	if err := p.child.Err(); err != nil {
		return p.explained(err)
	}
	return nil
}

func (p *Process) explained(err error) error {
	if line := p.LastLine(); line != "" {
		return fmt.Errorf("%s: %w: %s (%s)", p.spec.ID, err, line, p.spec.Log)
	}
	return fmt.Errorf("%s: %w (it has written nothing to %s)", p.spec.ID, err, p.spec.Log)
}

// Ready returns once the member answers RAFT.STATUS and knows a leader. That the process
// ends meanwhile is an error.
func (p *Process) Ready(ctx context.Context) error {
	var last error
	err := poll.Until(ctx, readyPause, func() (bool, error) {
		select {
		case <-p.Done():
			if err := p.Err(); err != nil {
				return false, err
			}
			return false, p.explained(errors.New("it has ended in order, and was to serve"))
		default:
		}
		last = p.leads(ctx)
		return last == nil, nil
	})
	if err != nil && ctx.Err() != nil {
		return p.explained(fmt.Errorf("not ready: %w: %w", err, last))
	}
	return err
}

func (p *Process) leads(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	c, err := Dial(ctx, p.spec.RESP)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.Status(ctx)
	if err == nil && s.Leader == "" {
		err = errors.New("it knows no leader")
	}
	return err
}

// Kill ends the process by SIGKILL, also one that is paused, and waits for its end.
func (p *Process) Kill() error { return p.child.Kill() }

// Stop ends the process by SIGTERM, also one that is paused. One that does not end within
// StopTime, or until ctx ends, is killed, and that is an error, as is an exit code that is
// not 0. Stop always waits for the end.
func (p *Process) Stop(ctx context.Context) error {
	if err := errors.Join(p.child.Signal(syscall.SIGTERM), p.child.Resume()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, StopTime, fmt.Errorf("it has not ended %v after SIGTERM", StopTime))
	defer cancel()
	select {
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		err := context.Cause(ctx)
		return p.explained(errors.Join(err, p.Kill()))
	}
}

// Pause has the process stand still by SIGSTOP, as a machine that hangs; on Linux it does
// when Pause returns.
func (p *Process) Pause(ctx context.Context) error { return p.child.Pause(ctx) }

// Resume has a process that was paused go on.
func (p *Process) Resume() error { return p.child.Resume() }

// LastLine returns the last line that the process has written; empty if there is none, or
// the log cannot be read.
func (p *Process) LastLine() string {
	f, err := os.Open(p.spec.Log)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	const most = 16 << 10
	from := max(p.logBegin, info.Size()-most)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	return lastLine(text)
}

func lastLine(text []byte) string {
	text = bytes.TrimSpace(text)
	return string(bytes.TrimSpace(text[bytes.LastIndexByte(text, '\n')+1:]))
}
