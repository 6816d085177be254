package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/process"
)

// identity names a process for good: its id alone is given to another one soon
// after its end.
type identity struct {
	pid     int
	start   string // when it began, as the system tells it, and in which boot
	program string // for who reads the file
}

// What is kept of a node's process. Only the id is in the file that people and
// their scripts read, so that kill $(cat node.pid) reaches nobody else.
const (
	pidName     = "node.pid"     // the id, and nothing more
	processName = "node.process" // id, start, program, a line each
	lockName    = "LOCK"         // kvnode's own: locked while it runs, with its id in it
)

// record writes down which process runs a node, and whose the node is. With the start first: an id alone
// that is younger would be taken for the process of the older start.
func (c *Cluster) record(alias string, id identity) error {
	text := fmt.Sprintf("%d\n%s\n%s\n", id.pid, id.start, id.program)
	if err := replaceFile(filepath.Join(c.Dir(alias), processName), text); err != nil {
		return err
	}
	if err := replaceFile(c.PIDPath(alias), strconv.Itoa(id.pid)+"\n"); err != nil {
		return err
	}
	return c.own()
}

// unrecord forgets the process of a node, which has ended.
func (c *Cluster) unrecord(alias string) error {
	return errors.Join(removeFile(c.PIDPath(alias)), removeFile(filepath.Join(c.Dir(alias), processName)))
}

// replaceFile writes a file whole or not at all.
func replaceFile(path, text string) error {
	tmp := path + ".tmp" // nobody else writes here: we hold the lock
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readIdentity reads what a file says of a process: its id and, unless somebody
// else wrote it, start and program, a line each. Where it says nothing of the kind
// the identity is zero.
func readIdentity(path string) (identity, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	pid, err := strconv.ParseInt(strings.TrimSpace(lines[0]), 10, 32)
	if err != nil || pid < 1 || len(lines) > 3 {
		return identity{}, nil
	}
	id := identity{pid: int(pid)}
	if len(lines) > 1 {
		id.start = lines[1]
	}
	if len(lines) > 2 {
		id.program = lines[2]
	}
	return id, nil
}

// running returns the process of a node, nil if there is none. The caller
// closes it.
//
// It is looked for where we have written it down; node.pid was the only such file
// once, and had all three lines. Both can be lost while the node runs. The lock of
// its data cannot: it goes with the process.
func (c *Cluster) running(alias string) (*handle, error) {
	c.children.sweep(alias)
	for _, source := range []struct {
		name  string
		locks bool // it counts only if the process holds it locked
	}{{processName, false}, {pidName, false}, {lockName, true}} {
		path := filepath.Join(c.Dir(alias), source.name)
		id, err := readIdentity(path)
		if err != nil {
			return nil, err
		}
		if id.pid == 0 || source.locks && !locks(id.pid, path) {
			continue
		}
		if id.start == "" { // written by somebody else
			if id, err = c.recognise(id, alias); err != nil {
				return nil, err
			}
		}
		if id.pid == 0 {
			continue
		}
		if p, err := open(id); p != nil || err != nil {
			return p, err
		}
	}
	return nil, nil
}

// recognise completes an identity that lacks the start, if the process is a
// kvnode that was given this node's data path; otherwise it returns the zero
// identity.
func (c *Cluster) recognise(id identity, alias string) (identity, error) {
	was, err := look(id.pid)
	if errors.Is(err, errGone) {
		return identity{}, nil
	}
	if err != nil {
		return identity{}, err
	}
	p, err := process.NewProcess(int32(id.pid))
	if err != nil {
		return identity{}, nil // gone since
	}
	args, err := p.CmdlineSlice()
	if err != nil || len(args) < 2 {
		return identity{}, nil
	}
	dir, err := filepath.Abs(c.Dir(alias))
	if err != nil {
		return identity{}, err
	}
	at, err := p.Cwd()
	if err != nil {
		return identity{}, nil
	}
	names := func(arg string) bool {
		if !filepath.IsAbs(arg) {
			arg = filepath.Join(at, arg)
		}
		return filepath.Clean(arg) == dir
	}
	if filepath.Base(args[0]) != filepath.Base(c.opts.Binary) || !slices.ContainsFunc(args[1:], names) {
		return identity{}, nil
	}
	return identity{pid: id.pid, start: was.start, program: args[0]}, nil
}
