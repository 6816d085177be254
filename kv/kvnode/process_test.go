package kvnode

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"time"
)

// process is a kvnode that a test has started.
type process struct {
	cmd   *exec.Cmd
	log   string // path of its output
	ended chan struct{}
}

// launch starts a kvnode in dir, with its output in log. Who launches it kills it.
func launch(dir, log string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, args...), log: log, ended: make(chan struct{})}
	p.cmd.Args[0] = "kvnode" // TestMain runs main under this name
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code is what counts
	}()
	return p, nil
}

// kill ends the process without a word, and waits for that.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// exit waits for the process to end by itself and returns its exit code.
func (p *process) exit() (int, error) {
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("it goes on\n%s", p.output())
	}
}

// find waits until the output matches, and returns the match.
func (p *process) find(pattern string) ([]string, error) {
	re := regexp.MustCompile(`(?m)` + pattern)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		ended := false
		select {
		case <-p.ended:
			ended = true
		default:
		}
		if found := re.FindStringSubmatch(p.output()); found != nil {
			return found, nil
		}
		if ended || time.Now().After(deadline) {
			return nil, fmt.Errorf("no %q in its output; ended: %t\n%s", pattern, ended, p.output())
		}
	}
}

func (p *process) output() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
