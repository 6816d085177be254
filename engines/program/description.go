// Package program is the harness' side of docs/engine-programs.md: it finds engines that are
// programs, asks what they are, starts members of a group, and talks to each over the Redis
// protocol. It never measures, and knows no engine by name.
package program

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/themilchenko/raftlab/internal/child"
)

// Protocol is the version of docs/engine-programs.md that this package speaks.
const Protocol = 1

// Folders is the variable of the environment that says where programs are, as PATH does.
const Folders = "RAFTLAB_ENGINES"

// ErrMissing is the kind of the error for a program that is not there.
var ErrMissing = errors.New("no such program")

// prefix begins the file names of engines that are programs.
const prefix = "raftlab-"

// Find returns the path of the program of the engine called name: raftlab-NAME in a folder of
// $RAFTLAB_ENGINES, beside the running program, or in PATH. One that is nowhere is an
// ErrMissing.
func Find(name string) (path string, err error) {
	file := prefix + name
	looked, err := folders()
	if err != nil {
		return "", err
	}
	for _, dir := range looked {
		path, err := exec.LookPath(filepath.Join(dir, file))
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("engine %s: %w", name, err)
		}
	}
	if path, err := exec.LookPath(file); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("engine %s: %w: %s is not in %s, and not in PATH: 'make engines' builds it into bin/; %s says where else it may be",
		name, ErrMissing, file, strings.Join(looked, ", "), Folders)
}

// Given returns the names of the engines whose programs are in the folders of
// $RAFTLAB_ENGINES, in order.
func Given() (names []string, err error) {
	for _, dir := range filepath.SplitList(os.Getenv(Folders)) {
		files, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", Folders, dir, err)
		}
		for _, f := range files {
			if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				names = append(names, strings.TrimPrefix(filepath.Base(f), prefix))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// folders are where programs are looked for before PATH.
func folders() (list []string, err error) {
	for _, dir := range filepath.SplitList(os.Getenv(Folders)) {
		dir, err := filepath.Abs(dir) // LookPath takes no relative one for a path
		if err != nil {
			return nil, fmt.Errorf("%s: %w", Folders, err)
		}
		list = append(list, dir)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("look for engines beside this program: %w", err)
	}
	return append(list, filepath.Dir(self)), nil
}

// Description is what a program says of itself.
type Description struct {
	Protocol   int                `json:"protocol"`
	Engine     string             `json:"engine"`
	Library    string             `json:"library"`
	Version    string             `json:"version"`
	Language   string             `json:"language"`
	Storage    Part               `json:"storage"`
	Transport  Part               `json:"transport"`
	Durability string             `json:"durability"`  // disk, os-buffer or nothing
	ReadLevels []string           `json:"read_levels"` // of linearizable, lease, stale
	Reads      string             `json:"reads"`       // read index, log entry or lease
	Features   []string           `json:"features"`    // of transfer, snapshot, links, checksums
	Settings   map[string]Setting `json:"settings"`
	Runs       map[string]string  `json:"runs"` // what a member runs with
	// WarmupOperations is how many operations a member serves until it is as fast as it gets; 0:
	// it is from the first.
	WarmupOperations int64  `json:"warmup_operations"`
	Ours             string `json:"ours"` // what is the program's and not the library's; as core.EngineInfo has it
}

// Part says what keeps the log, or carries messages.
type Part struct {
	Name    string `json:"name"`
	Library string `json:"library"`
	Version string `json:"version"`
}

// Setting is a key of the settings that the program knows.
type Setting struct {
	Default  string `json:"default"`
	Doc      string `json:"doc"`
	Honoured bool   `json:"honoured"` // false: it is taken, and changes nothing
}

// The features that a program may have.
const (
	Transfer = "transfer"
	Snapshot = "snapshot"
	Links    = "links" // the addresses of peers may be a proxy's
	// Checksums: an entry of the log that is not what was written is found when it is read.
	Checksums = "checksums"
)

// Has reports whether the program has the feature.
func (d *Description) Has(feature string) bool { return slices.Contains(d.Features, feature) }

// parseDescription reads what describe prints. An error names the field.
func parseDescription(text []byte) (d Description, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&d); err != nil {
		return d, fmt.Errorf("not the JSON of a description: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return d, errors.New("there is more behind the JSON object: a description is all that describe prints on standard output")
	}
	if d.Protocol != Protocol {
		return d, fmt.Errorf("protocol: %d; this raftlab speaks %d: build both from one checkout (make build engines)", d.Protocol, Protocol)
	}
	return d, errors.Join(
		given("engine", d.Engine), given("library", d.Library), given("version", d.Version), given("language", d.Language),
		given("storage.name", d.Storage.Name), given("transport.name", d.Transport.Name),
		among("durability", []string{d.Durability}, "disk", "os-buffer", "nothing"),
		among("read_levels", d.ReadLevels, "linearizable", "lease", "stale"),
		among("reads", []string{d.Reads}, "read index", "log entry", "lease"),
		among("features", d.Features, Transfer, Snapshot, Links, Checksums),
		d.checkLevels(), d.checkSettings(), d.checkWarmup(),
	)
}

func given(field, value string) error {
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return fmt.Errorf("%s: %q: it has to be a text of one line", field, value)
	}
	return nil
}

func among(field string, values []string, known ...string) error {
	for i, v := range values {
		if !slices.Contains(known, v) {
			return fmt.Errorf("%s: %q: it has to be one of %s", field, v, strings.Join(known, ", "))
		}
		if slices.Contains(values[:i], v) {
			return fmt.Errorf("%s: %q stands twice", field, v)
		}
	}
	return nil
}

func (d *Description) checkLevels() error {
	if !slices.Contains(d.ReadLevels, "linearizable") {
		return errors.New("read_levels: linearizable is missing, which every engine has to have")
	}
	return nil
}

// maxWarmupOperations is what an experiment may ask for, too.
const maxWarmupOperations = 1_000_000_000

func (d *Description) checkWarmup() error {
	if n := d.WarmupOperations; n < 0 || n > maxWarmupOperations {
		return fmt.Errorf("warmup_operations: %d: it has to be from 0 to %d", n, maxWarmupOperations)
	}
	return nil
}

func (d *Description) checkSettings() error {
	for _, key := range slices.Sorted(maps.Keys(d.Settings)) {
		if err := checkSetting(key, cmp.Or(d.Settings[key].Default, "-")); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		if d.Settings[key].Doc == "" {
			return fmt.Errorf("settings.%s.doc: empty", key)
		}
	}
	return nil
}

// describeTime bounds how long a program takes to say what it is; a virtual machine starts.
const describeTime = 30 * time.Second

// Describe asks the program at path what it would run with the settings. Those that it
// refuses are an error that says why, as it does.
func Describe(ctx context.Context, path string, settings map[string]string) (d Description, err error) {
	dir, err := os.MkdirTemp("", "raftlab-describe-*")
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "settings")
	if err := WriteSettings(file, settings); err != nil {
		return d, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, describeTime, fmt.Errorf("it has not answered for %v", describeTime))
	defer cancel()
	answer, said, err := Output(ctx, path, "describe", "--settings", file)
	if err != nil {
		return d, fmt.Errorf("%s describe: %w: %s", path, err, strings.ReplaceAll(lastLine([]byte(said)), file, "its settings"))
	}
	if d, err = parseDescription([]byte(answer)); err != nil {
		return d, fmt.Errorf("%s describe: %w", path, err)
	}
	return d, nil
}

// Output runs a program to its end and returns what it writes to its two outputs. At the end
// of ctx it is killed, with what it has started.
func Output(ctx context.Context, path string, args ...string) (stdout, stderr string, err error) {
	dir, err := os.MkdirTemp("", "raftlab-output-*")
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var files [2]*os.File // and no pipes, whose end somebody it has started may hold
	for i := range files {
		if files[i], err = os.Create(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return "", "", err
		}
		defer files[i].Close()
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	p, err := start(cmd)
	if err != nil {
		return "", "", err
	}
	var ended error
	select {
	case <-p.Done():
		ended = p.Err()
	case <-ctx.Done():
		ended = errors.Join(context.Cause(ctx), p.Kill())
	}
	for i, to := range []*string{&stdout, &stderr} {
		text, err := os.ReadFile(files[i].Name())
		if err != nil {
			return "", "", err
		}
		*to = string(text)
	}
	return stdout, stderr, ended
}

// start starts a command; that there is no such program is an ErrMissing.
func start(cmd *exec.Cmd) (*child.Process, error) {
	p, err := child.Start(cmd)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w: 'make engines' builds it", ErrMissing, err)
	}
	return p, err
}

// Duration is d as a setting.
func Duration(d time.Duration) string { return fmt.Sprintf("%dus", d.Microseconds()) }

// WriteSettings writes a file of settings: a line for each, in the order of their keys.
func WriteSettings(path string, settings map[string]string) error {
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if err := checkSetting(key, settings[key]); err != nil {
			return fmt.Errorf("settings: %w", err)
		}
		fmt.Fprintf(&b, "%s = %s\n", key, settings[key])
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// checkSetting refuses what would not be read as what it is.
func checkSetting(key, value string) error {
	switch {
	case key == "" || strings.ContainsFunc(key, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }):
		return fmt.Errorf("key %q: lower case letters, digits and _ only", key)
	case value == "" || strings.TrimSpace(value) != value || strings.ContainsAny(value, "\r\n\x00"):
		return fmt.Errorf("%s = %q: a value is a text of one line, without blanks around it", key, value)
	}
	return nil
}
