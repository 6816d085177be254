package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// readIdentity reads a pid file: the id, the start and the program, a line each.
// The zero identity means that there is none.
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
		return identity{}, fmt.Errorf("%s: does not begin with the id of a process: remove it if that kvnode does not run", path)
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

// writeIdentity replaces a pid file, whole or not at all.
func writeIdentity(path string, id identity) error {
	text := fmt.Sprintf("%d\n%s\n%s\n", id.pid, id.start, id.program)
	tmp := path + ".tmp" // nobody else writes here: we hold the lock
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// running returns the process of a node, nil if there is none. The caller
// closes it.
func (c *Cluster) running(alias string) (*handle, error) {
	c.children.sweep(alias)
	id, err := readIdentity(c.PIDPath(alias))
	if err != nil || id.pid == 0 {
		return nil, err
	}
	if id.start == "" { // written by somebody else
		if id, err = c.recognise(id, alias); err != nil || id.pid == 0 {
			return nil, err
		}
	}
	return open(id)
}

// recognise completes an identity that lacks the start, if the process is a
// kvnode with this node's data path; otherwise it returns the zero identity.
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
	path := args[len(args)-1]
	if !filepath.IsAbs(path) {
		at, err := p.Cwd()
		if err != nil {
			return identity{}, nil
		}
		path = filepath.Join(at, path)
	}
	if filepath.Base(args[0]) != filepath.Base(c.opts.Binary) || filepath.Clean(path) != dir {
		return identity{}, nil
	}
	return identity{pid: id.pid, start: was.start, program: args[0]}, nil
}
