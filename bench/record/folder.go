package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/themilchenko/raftlab/bench/experiment"
	"github.com/themilchenko/raftlab/internal/atomicfile"
	"github.com/themilchenko/raftlab/internal/lockfile"
)

// Names of the files in a run folder.
const (
	ManifestFile   = "manifest.json"
	ExperimentFile = "experiment.toml"
	TrialsDir      = "trials"
	PlotsDir       = "plots"
	EngineLogFile  = "raft.log"
	lockName       = ".lock"
)

// Folder is one run folder. A Folder made by Create or Resume holds the lock
// and may be written to; one made by Open only reads. It is not safe for
// concurrent use.
type Folder struct {
	dir      string
	manifest Manifest
	format   int              // in which the manifest was written
	order    map[TrialID]bool // those of manifest.Order
	release  func() error     // nil: read-only
}

// Create makes dir, with its parents, a run folder that holds manifest and the
// experiment file as it was given, and locks it. A folder that holds files of a
// run already is refused with an [ErrExists], one that is being written with an
// [ErrLocked]. The caller closes the Folder.
func Create(dir string, manifest Manifest, experimentSource []byte) (*Folder, error) {
	if err := manifest.Validate(); err != nil {
		return nil, fmt.Errorf("create run folder %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create run folder %s: %w", dir, err)
	}
	release, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("create run folder %s: %w", dir, err)
	}
	f := &Folder{dir: dir, release: release, format: FormatVersion}
	f.take(manifest)
	if err := f.fill(experimentSource); err != nil {
		return nil, errors.Join(fmt.Errorf("create run folder %s: %w", dir, err), release())
	}
	return f, nil
}

// fill writes the first files, the manifest last: a folder without it is no run.
func (f *Folder) fill(experimentSource []byte) error {
	for _, name := range []string{ManifestFile, ExperimentFile, TrialsDir, PlotsDir, "results.csv", "report.md", "report.html"} {
		if _, err := os.Lstat(filepath.Join(f.dir, name)); err == nil {
			return fmt.Errorf("%w (there is a %s): continue it with --resume or choose another folder with --out", ErrExists, name)
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Mkdir(f.path(TrialsDir), 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(f.path(ExperimentFile), experimentSource); err != nil {
		return err
	}
	return f.writeManifest()
}

// Open opens the run folder dir for reading. The error is an [ErrNotRun],
// [ErrNewer] or [ErrDamaged] that names the file.
func Open(dir string) (*Folder, error) {
	f := &Folder{dir: dir}
	if err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// Resume opens the run folder dir for writing and locks it; see Open and
// [ErrLocked]. The caller closes the Folder.
func Resume(dir string) (*Folder, error) {
	if _, err := Open(dir); err != nil { // makes no lock file where there is no run
		return nil, err
	}
	release, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", dir, err)
	}
	f := &Folder{dir: dir, release: release}
	if err := f.load(); err != nil { // again: it may have changed before we held the lock
		return nil, errors.Join(err, release())
	}
	return f, nil
}

func (f *Folder) load() error {
	data, err := readFile(f.path(ManifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is %w: it has no %s", f.dir, ErrNotRun, ManifestFile)
	}
	var m Manifest
	if err == nil {
		m, f.format, err = decodeManifest(data)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", f.path(ManifestFile), err)
	}
	f.take(m)
	return nil
}

func (f *Folder) take(m Manifest) {
	f.manifest, f.order = m, make(map[TrialID]bool, len(m.Order))
	for _, id := range m.Order {
		f.order[id] = true
	}
}

func decodeManifest(data []byte) (m Manifest, format int, err error) {
	var head struct {
		Format int `json:"format"`
	}
	// The version first, leniently: a newer one may have members unknown here.
	if json.Unmarshal(data, &head) == nil && head.Format > FormatVersion {
		return m, 0, fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewer, head.Format, FormatVersion)
	}
	if err := decodeJSON(data, &m); err != nil {
		return m, 0, err
	}
	m.upgrade()
	if err := m.Validate(); err != nil {
		return m, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, head.Format, nil
}

// upgrade puts into a manifest of an older format what that one left unsaid, so
// that what is written of it from now on is of the newest.
func (m *Manifest) upgrade() {
	first := m.Format == 1
	if m.Format > 0 && m.Format < FormatVersion {
		m.Format = FormatVersion
		m.takeFlags()
	}
	if !first {
		return
	}
	m.Experiment.Measure = experiment.MeasureLoad
	m.Experiment.Cluster.Discovery = experiment.DiscoveryStatic
	for i := range m.Cells {
		m.Cells[i].Cluster.Discovery = experiment.DiscoveryStatic
	}
}

// takeFlags takes what was laid over the experiment file beside the overrides from the
// command that began the run.
func (m *Manifest) takeFlags() {
	if len(m.Sessions) == 0 {
		return
	}
	for _, word := range m.Sessions[0].Command {
		if n, ok := strings.CutPrefix(word, "--trials="); ok {
			m.Overrides = append(m.Overrides, "trials="+n)
		}
		m.Quick = m.Quick || word == "--quick"
	}
}

// Dir returns the folder's path as it was given.
func (f *Folder) Dir() string { return f.dir }

// Manifest returns the manifest. What its slices and maps point to must not be
// changed.
func (f *Folder) Manifest() Manifest { return f.manifest }

// Format is the version in which the manifest was written last.
func (f *Folder) Format() int { return f.format }

// Names lists the files of the folder and of the directories of trials and plots, by their
// slash-separated names; of other directories the name alone, with a slash behind it.
func (f *Folder) Names() ([]string, error) {
	var names []string
	err := fs.WalkDir(os.DirFS(f.dir), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil || name == "." || name == TrialsDir || name == PlotsDir:
			return err
		case e.IsDir():
			names = append(names, name+"/")
			return fs.SkipDir
		}
		names = append(names, name)
		return nil
	})
	return names, err
}

// AppendSession adds a session to the manifest, on disk once it returns nil.
// Trials saved from then on belong to it by its index.
func (f *Folder) AppendSession(s Session) error {
	if f.release == nil {
		return fmt.Errorf("append session: %s was %w", f.dir, ErrReadOnly)
	}
	m := f.manifest
	m.Sessions = append(slices.Clip(m.Sessions), s)
	if err := f.replaceManifest(m); err != nil {
		return fmt.Errorf("append session: %w", err)
	}
	return nil
}

// Extend plans more trials of each cell, on disk once it returns nil: the order goes on as
// that of a run which had so many from the beginning.
func (f *Folder) Extend(x Extension) error {
	if f.release == nil {
		return fmt.Errorf("extend: %s was %w", f.dir, ErrReadOnly)
	}
	m := f.manifest
	if x.Trials > MaxTrials/len(m.Cells) {
		return fmt.Errorf("extend: %w: %d trials of %d cells, a run has at most %d in all", ErrInvalid, x.Trials, len(m.Cells), MaxTrials)
	}
	m.Extended = append(slices.Clip(m.Extended), x)
	m.Order = Order(m.Cells, x.Trials, m.Experiment.Seed)
	if err := f.replaceManifest(m); err != nil {
		return fmt.Errorf("extend to %d trials: %w", x.Trials, err)
	}
	return nil
}

// LeaveOut takes cells out of later rounds, on disk once it returns nil.
func (f *Folder) LeaveOut(cells []LeftOut) error {
	if f.release == nil {
		return fmt.Errorf("leave out cells: %s was %w", f.dir, ErrReadOnly)
	}
	m := f.manifest
	m.LeftOut = append(slices.Clip(m.LeftOut), cells...)
	if err := f.replaceManifest(m); err != nil {
		return fmt.Errorf("leave out cells: %w", err)
	}
	return nil
}

// replaceManifest puts another manifest in the place of the present one, or changes nothing.
func (f *Folder) replaceManifest(m Manifest) error {
	if err := m.Validate(); err != nil {
		return err
	}
	before := f.manifest
	f.manifest = m
	if err := f.writeManifest(); err != nil {
		f.manifest = before
		return err
	}
	f.take(m)
	return nil
}

func (f *Folder) writeManifest() error {
	data, err := encodeJSON(f.manifest)
	if err != nil {
		return err
	}
	return atomicfile.Write(f.path(ManifestFile), data)
}

// SaveTrial writes one finished trial, whole and flushed once it returns nil. A
// trial that the run did not plan, that contradicts itself or that was saved
// before is refused with an [ErrInvalid].
func (f *Folder) SaveTrial(t Trial) error {
	if f.release == nil {
		return fmt.Errorf("save trial: %s was %w", f.dir, ErrReadOnly)
	}
	path := f.path(t.File())
	err := f.checkTrial(t)
	if err == nil {
		if _, statErr := os.Lstat(path); statErr == nil {
			err = fmt.Errorf("%w: it is there already", ErrInvalid)
		}
	}
	var data []byte
	if err == nil {
		data, err = encodeJSON(t)
	}
	if err == nil {
		err = atomicfile.Write(path, data)
	}
	if err != nil {
		return fmt.Errorf("save trial %d of cell %s in %s: %w", t.Trial, t.Cell, f.dir, err)
	}
	return nil
}

func (f *Folder) checkTrial(t Trial) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if !f.order[t.TrialID] {
		return fmt.Errorf("%w: the run did not plan it", ErrInvalid)
	}
	if _, there := t.Data[f.manifest.Experiment.Measure]; !there && t.Failure == "" {
		return fmt.Errorf("%w: the run measures a %s, the trial does not", ErrInvalid, f.manifest.Experiment.Measure)
	}
	for kind := range t.Data {
		if kind != f.manifest.Experiment.Measure {
			return fmt.Errorf("%w: the run measures a %s, the trial has a %s", ErrInvalid, f.manifest.Experiment.Measure, kind)
		}
	}
	if t.Session >= len(f.manifest.Sessions) {
		return fmt.Errorf("%w: session %d of %d", ErrInvalid, t.Session, len(f.manifest.Sessions))
	}
	return nil
}

// Trials reads all trials that were saved, by cell in the order of the manifest
// and then by number. A file in the trials directory that is no whole trial of
// this run is an [ErrDamaged] that names it.
func (f *Folder) Trials() ([]Trial, error) {
	entries, err := os.ReadDir(f.path(TrialsDir))
	if err != nil {
		return nil, fmt.Errorf("read trials of %s: %w", f.dir, err)
	}
	var trials []Trial
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") { // a write that was broken off
			continue
		}
		t, err := f.readTrial(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path(filepath.Join(TrialsDir, e.Name())), err)
		}
		trials = append(trials, t)
	}
	place := make(map[string]int, len(f.manifest.Cells))
	for i, c := range f.manifest.Cells {
		place[c.ID] = i
	}
	slices.SortFunc(trials, func(a, b Trial) int {
		if a.Cell != b.Cell {
			return place[a.Cell] - place[b.Cell]
		}
		return a.Trial - b.Trial
	})
	return trials, nil
}

func (f *Folder) readTrial(name string) (Trial, error) {
	data, err := readFile(f.path(filepath.Join(TrialsDir, name)))
	if err != nil {
		return Trial{}, err
	}
	t, err := decodeTrial(data, f.manifest.Experiment.Measure)
	if err != nil {
		return Trial{}, err
	}
	if err := f.checkTrial(t); err != nil {
		return Trial{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if filepath.Base(t.File()) != name {
		return Trial{}, fmt.Errorf("%w: it holds trial %d of cell %s", ErrDamaged, t.Trial, t.Cell)
	}
	return t, nil
}

// decodeTrial reads a trial of a run that measures that kind; it is not checked yet.
func decodeTrial(data []byte, kind string) (Trial, error) {
	data, err := upgradeTrial(data, kind)
	if err != nil {
		return Trial{}, err
	}
	var t Trial
	if err := decodeJSON(data, &t); err != nil {
		return Trial{}, err
	}
	for kind, d := range t.Data {
		var compact bytes.Buffer // without the indentation of the file
		if err := json.Compact(&compact, d.Measured); err != nil {
			return Trial{}, fmt.Errorf("%w: %s: %w", ErrDamaged, kind, err)
		}
		t.Data[kind] = Data{d.Version, compact.Bytes()}
	}
	return t, nil
}

// upgradeTrial puts what a trial of format 1 or 2 measured where format 3 has it: a
// formation was a member of its own, a load all members that are not of every trial.
func upgradeTrial(data []byte, kind string) ([]byte, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil || members["window_ns"] == nil {
		return data, nil // of this format, or no trial at all, as decoding it will tell
	}
	header, measured := map[string]any{}, map[string]json.RawMessage{}
	for name, text := range members {
		switch name {
		case "cell", "trial", "started", "session", "leader", "probe", "gates", "failure":
			header[name] = text
		default:
			measured[name] = text
		}
	}
	formation := measured[experiment.MeasureFormation]
	delete(measured, experiment.MeasureFormation)
	var of any = measured
	if kind == experiment.MeasureFormation {
		of = formation
	}
	if kind != experiment.MeasureFormation || formation != nil {
		header["data"] = map[string]any{kind: map[string]any{"version": 1, "measured": of}}
	}
	return json.Marshal(header)
}

// Missing returns the trials that are not saved yet, in the order in which they
// are to run.
func (f *Folder) Missing() ([]TrialID, error) {
	trials, err := f.Trials()
	if err != nil {
		return nil, err
	}
	done := make(map[TrialID]bool, len(trials))
	for _, t := range trials {
		done[t.TrialID] = true
	}
	var missing []TrialID
	for _, id := range f.manifest.Planned() {
		if !done[id] {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// ReadFile returns a file of the folder by its slash-separated name.
func (f *Folder) ReadFile(name string) ([]byte, error) { return readFile(f.path(name)) }

// WriteFile writes a file that is made from the raw data, such as a report, and
// makes its directory. A reader sees the old content or the new, never a part.
// The manifest and the trials are refused. No lock is needed.
func (f *Folder) WriteFile(name string, data []byte) error {
	clean := filepath.ToSlash(filepath.Clean(filepath.FromSlash(name)))
	raw := clean == ManifestFile || clean == ExperimentFile || clean == TrialsDir || strings.HasPrefix(clean, TrialsDir+"/")
	if raw || !filepath.IsLocal(clean) {
		return fmt.Errorf("write %s in %s: %w: not a file that may be replaced", name, f.dir, ErrInvalid)
	}
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := atomicfile.Write(path, data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Close gives up the lock. It is idempotent.
func (f *Folder) Close() error {
	if f.release == nil {
		return nil
	}
	release := f.release
	f.release = nil
	return release()
}

func (f *Folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// File is the slash-separated name of a trial's file in its run folder.
func (id TrialID) File() string {
	return fmt.Sprintf("%s/%s-t%02d.json", TrialsDir, id.Cell, id.Trial)
}

// lock takes the lock of a run folder.
func lock(dir string) (release func() error, err error) {
	f, err := lockfile.Take(filepath.Join(dir, lockName))
	if errors.Is(err, lockfile.ErrLocked) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

// maxFileBytes bounds what is read of one JSON file. A trial of an hour with
// both histograms stays far below.
const maxFileBytes = 64 << 20

// encodeJSON writes v with one member per line, so that a diff of two files can
// be read.
func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decodeJSON reads exactly one value without unknown members into v.
func decodeJSON(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the file is cut off")
		}
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the end of the JSON value", ErrDamaged)
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrDamaged, maxFileBytes)
	}
	return data, nil
}
