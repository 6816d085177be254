package record

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/themilchenko/raftlab/bench/experiment"
)

// manifestOf plans two cells (backend bolt and mdb) of two trials each.
func manifestOf(sessions ...Session) Manifest {
	cell := func(id, backend string) CellInfo {
		return CellInfo{
			Cell:       experiment.Cell{ID: id, Levels: []experiment.Level{{Factor: "backend", Value: backend}}},
			Durability: "disk", Acknowledgement: "majority",
		}
	}
	return Manifest{
		Format: FormatVersion,
		Experiment: experiment.Experiment{
			Name: "stores", Seed: 7, Trials: 2, Measure: experiment.MeasureLoad,
			Matrix: []experiment.Factor{{Key: "cluster.backend", Name: "backend", Levels: []string{"bolt", "mdb"}}},
		},
		Cells:    []CellInfo{cell("c01", "bolt"), cell("c02", "mdb")},
		Order:    []TrialID{{"c02", 1}, {"c01", 2}, {"c01", 1}, {"c02", 2}},
		Sessions: sessions,
	}
}

func session() Session {
	return Session{
		Started:     time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Command:     []string{"raftlab", "run", "stores.toml"},
		Environment: Environment{Host: "h", Cores: 2, Modules: map[string]string{"a": "v1"}},
	}
}

// measured is the data of a trial of the tests.
type measured struct {
	Hist string `json:"hist"`
}

func histogramText(t testing.TB) string {
	t.Helper()
	h := NewHistogram()
	for v := int64(1); v <= 10; v++ {
		if err := h.RecordValue(v * 1000); err != nil {
			t.Fatal(err)
		}
	}
	text, err := EncodeHistogram(h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func trialOf(t testing.TB, cell string, n int) Trial {
	t.Helper()
	trial := Trial{
		TrialID: TrialID{cell, n}, Started: time.Date(2026, 1, 2, 3, 5, 0, 0, time.UTC),
		Leader: "n1",
		Gates: []Gate{
			{Name: "load", Verdict: Pass, Figure: 99, Limit: 95, AtLeast: true, Unit: "%"},
			{Name: "errors", Verdict: Fail, Figure: 9, Limit: 1, Unit: "%", Reason: "1 of 11 failed"},
		},
	}
	if err := trial.Put("load", 1, measured{histogramText(t)}); err != nil {
		t.Fatal(err)
	}
	return trial
}

func create(t *testing.T) *Folder {
	t.Helper()
	f, err := Create(filepath.Join(t.TempDir(), "runs", "one"), manifestOf(session()), []byte("name = \"stores\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestFolderReadsBackWhatWasWritten(t *testing.T) {
	f := create(t)
	want := []Trial{trialOf(t, "c01", 1), trialOf(t, "c01", 2), trialOf(t, "c02", 1)}
	for _, i := range []int{2, 0, 1} {
		if err := f.SaveTrial(want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Trials()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trials (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(manifestOf(session()), r.Manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	missing, err := r.Missing()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]TrialID{{"c02", 2}}, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if source, err := r.ReadFile(ExperimentFile); err != nil || string(source) != "name = \"stores\"\n" {
		t.Errorf("experiment = %q, %v", source, err)
	}
}

func TestMissingFollowsTheOrder(t *testing.T) {
	f := create(t)
	missing, err := f.Missing()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Manifest().Order, missing); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
}

func TestCreateRefuses(t *testing.T) {
	f := create(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Create(f.Dir(), manifestOf(), nil)
	if !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "--resume") || !strings.Contains(err.Error(), "--out") {
		t.Errorf("existing run: %v", err)
	}
	bad := manifestOf()
	bad.Order = append(bad.Order, TrialID{"c09", 1})
	if _, err := Create(t.TempDir(), bad, nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("unknown cell in the order: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(filepath.Join(file, "run"), manifestOf(), nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("folder below a file: %v", err)
	}
	stray := t.TempDir()
	if err := os.WriteFile(filepath.Join(stray, ExperimentFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(stray, manifestOf(), nil); !errors.Is(err, ErrExists) {
		t.Errorf("folder with a file of ours: %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(stray, ExperimentFile)); string(data) != "mine" {
		t.Errorf("Create overwrote a file: %q", data)
	}
}

func TestLockExcludesASecondRunner(t *testing.T) {
	f := create(t)
	if _, err := Resume(f.Dir()); !errors.Is(err, ErrLocked) {
		t.Errorf("resume while the first runner writes: %v", err)
	}
	if _, err := Open(f.Dir()); err != nil {
		t.Errorf("reading needs no lock: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Resume(f.Dir())
	if err != nil {
		t.Fatalf("resume after the first runner is done: %v", err)
	}
	defer r.Close()
	if err := r.AppendSession(session()); err != nil {
		t.Fatal(err)
	}
	again, err := Open(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.Manifest().Sessions); n != 2 {
		t.Errorf("%d sessions on disk, want 2", n)
	}
}

// TestCrashReleasesTheLock kills a process that holds the lock: it is this test
// binary, run again with the folder to lock in its environment.
func TestCrashReleasesTheLock(t *testing.T) {
	const key = "RECORD_TEST_LOCK"
	if dir := os.Getenv(key); dir != "" {
		if _, err := Resume(dir); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	f := create(t)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestCrashReleasesTheLock$", "-test.timeout=30s")
	child.Env = append(os.Environ(), key+"="+f.Dir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("locked\n"))
	if _, err := out.Read(line); err != nil {
		t.Fatal(err)
	}
	_, locked := Resume(f.Dir())
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed: always an error
	if !errors.Is(locked, ErrLocked) {
		t.Errorf("resume while the other process lives: %v", locked)
	}
	r, err := Resume(f.Dir())
	if err != nil {
		t.Fatalf("resume after the crash: %v", err)
	}
	r.Close()
}

func TestSaveTrialRefuses(t *testing.T) {
	f := create(t)
	if err := f.SaveTrial(trialOf(t, "c01", 1)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Trial){
		"saved before":     func(tr *Trial) { tr.Trial = 1 },
		"not planned":      func(tr *Trial) { tr.Trial = 3 },
		"no such session":  func(tr *Trial) { tr.Session = 1 },
		"nothing measured": func(tr *Trial) { tr.Data = nil },
		"another kind":     func(tr *Trial) { tr.Data = map[string]Data{"formation": {}} },
		"a second kind":    func(tr *Trial) { tr.Data["formation"] = tr.Data["load"] },
		"verdict":          func(tr *Trial) { tr.Gates[0].Verdict = "MAYBE" },
		"quantiles":        func(tr *Trial) { tr.Probe.FdatasyncUS = Quantiles{N: 1, Min: 2, P50: 1} },
		"path in the id":   func(tr *Trial) { tr.Cell = "../c01" },
	} {
		tr := trialOf(t, "c01", 2)
		change(&tr)
		if err := f.SaveTrial(tr); err == nil {
			t.Errorf("%s: saved", name)
		}
	}
	r, err := Open(f.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SaveTrial(trialOf(t, "c01", 2)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("save through a folder opened for reading: %v", err)
	}
	if trials, err := r.Trials(); err != nil || len(trials) != 1 {
		t.Errorf("%d trials, %v; want the one that was saved", len(trials), err)
	}
}

func TestOpenNamesWhatIsWrong(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNotRun) {
		t.Errorf("empty folder: %v", err)
	}
	whole, err := encodeJSON(manifestOf(session()))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"cut off":        {string(whole[:len(whole)/2]), ErrDamaged},
		"empty":          {"", ErrDamaged},
		"trailing":       {string(whole) + "{}", ErrDamaged},
		"unknown member": {strings.Replace(string(whole), `"order"`, `"ordre"`, 1), ErrDamaged},
		"newer":          {`{"format": 99, "galaxies": 3}`, ErrNewer},
		"no format":      {`{}`, ErrDamaged},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ManifestFile), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !errors.Is(err, c.want) || !strings.Contains(err.Error(), ManifestFile) {
			t.Errorf("%s: %v, want %v with the file's name", name, err, c.want)
		}
	}
}

func TestTrialsFindsDamage(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"cut off": func(dir string) error { return os.Truncate(filepath.Join(dir, "c01-t01.json"), 40) },
		"emptied": func(dir string) error { return os.Truncate(filepath.Join(dir, "c01-t01.json"), 0) },
		"other name": func(dir string) error {
			return os.Rename(filepath.Join(dir, "c01-t01.json"), filepath.Join(dir, "c01-t02.json"))
		},
		"stranger": func(dir string) error { return os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("hm"), 0o600) },
		"a folder": func(dir string) error { return os.Mkdir(filepath.Join(dir, "old"), 0o700) },
	} {
		f := create(t)
		if err := f.SaveTrial(trialOf(t, "c01", 1)); err != nil {
			t.Fatal(err)
		}
		if err := spoil(f.path(TrialsDir)); err != nil {
			t.Fatal(err)
		}
		if trials, err := f.Trials(); err == nil {
			t.Errorf("%s: read %d trials without an error", name, len(trials))
		} else if !strings.Contains(err.Error(), TrialsDir) {
			t.Errorf("%s: error names no file: %v", name, err)
		}
	}
	// What a killed write leaves behind is no damage.
	f := create(t)
	if err := os.WriteFile(filepath.Join(f.path(TrialsDir), ".tmp-123"), []byte(`{"cell": "c0`), 0o600); err != nil {
		t.Fatal(err)
	}
	if trials, err := f.Trials(); err != nil || len(trials) != 0 {
		t.Errorf("broken-off write: %d trials, %v", len(trials), err)
	}
}

func TestWriteFileKeepsTheRawData(t *testing.T) {
	f := create(t)
	for _, name := range []string{ManifestFile, "./manifest.json", "plots/../trials/c01-t01.json", "trials/x", "../x", "/x", ExperimentFile} {
		if err := f.WriteFile(name, []byte("x")); !errors.Is(err, ErrInvalid) {
			t.Errorf("WriteFile(%q) = %v, want it refused", name, err)
		}
	}
	if err := f.WriteFile("plots/a.svg", []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestGateDecide(t *testing.T) {
	for _, c := range []struct {
		gate Gate
		want Verdict
	}{
		{Gate{Verdict: Pass, Figure: 95, Limit: 95, AtLeast: true}, Pass},
		{Gate{Verdict: Pass, Figure: 94, Limit: 95, AtLeast: true}, Fail},
		{Gate{Verdict: Fail, Figure: 1, Limit: 1}, Pass},
		{Gate{Verdict: Pass, Figure: 2, Limit: 1}, Fail},
		{Gate{Verdict: Skip, Figure: 2, Limit: 1}, Skip},
	} {
		if got := c.gate.Decide(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.gate, got, c.want)
		}
	}
}

func TestInvalidReason(t *testing.T) {
	tr := trialOf(t, "c01", 1)
	if got, want := tr.InvalidReason(), "errors: 1 of 11 failed"; got != want {
		t.Errorf("failed gate: %q, want %q", got, want)
	}
	tr.Gates = tr.Gates[:1]
	if got := tr.InvalidReason(); got != "" {
		t.Errorf("all passed: %q", got)
	}
	tr.Failure = "no leader"
	if got := tr.InvalidReason(); got != "no leader" {
		t.Errorf("failure: %q", got)
	}
}
