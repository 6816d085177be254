package backup_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/backup"
)

// filled is a map of so many keys, the values of which are of the size.
func filled(keys, size int) *kv.Store {
	m := kv.New()
	for i := range keys {
		m.Apply(uint64(i+10), kv.EncodeSet(fmt.Sprintf("key-%06d", i), bytes.Repeat([]byte{byte(i)}, size)))
	}
	return m
}

func header() backup.Header {
	return backup.Header{Group: "00000000000000ab", Term: 3, Node: "n1", Engine: "hashicorp", Version: "v0"}
}

func entries(list ...core.Remnant) iter.Seq2[core.Remnant, error] {
	return func(yield func(core.Remnant, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func write(t testing.TB, m *kv.Store, doubtful iter.Seq2[core.Remnant, error]) ([]byte, backup.Summary) {
	t.Helper()
	var file bytes.Buffer
	i := m.Image()
	defer i.Release()
	s, err := backup.Write(&file, header(), i, doubtful)
	if err != nil || s.Bytes != int64(file.Len()) {
		t.Fatalf("%d of %d bytes: %v", s.Bytes, file.Len(), err)
	}
	return file.Bytes(), s
}

// TestRoundTrip: what is read is what was written, also where blocks and values are of
// all sizes.
func TestRoundTrip(t *testing.T) {
	doubtful := []core.Remnant{{Index: 2000, Term: 4, Command: kv.EncodeDelete("x")}, {Index: 2002, Term: 5, Command: make([]byte, 300<<10)}}
	for _, c := range []struct{ keys, size int }{{0, 0}, {1, 0}, {1, 3 << 20}, {300, 4000}, {1000, 10}} {
		m := filled(c.keys, c.size)
		file, wrote := write(t, m, entries(doubtful[0], core.Remnant{Index: 2001, Term: 4}, doubtful[1]))
		copied := kv.New()
		var late []core.Remnant
		read, err := backup.Read(iotest.HalfReader(bytes.NewReader(file)), func(p kv.Pair) error {
			copied.Apply(p.Index, kv.EncodeSet(p.Key, p.Value))
			return nil
		}, func(e core.Remnant) error {
			late = append(late, e)
			return nil
		})
		if err != nil || read != wrote || read.Index != m.Image().Index() || read.Keys != uint64(c.keys) {
			t.Fatalf("%+v: read %+v, wrote %+v: %v", c, read, wrote, err)
		}
		if got, want := copied.Image().Content(), m.Image().Content(); got != want || read.Content != want {
			t.Errorf("%+v: content %x, want %x", c, got, want)
		}
		if len(late) != 2 || read.Doubtful != 2 || read.First != 2000 || read.Last != 2002 ||
			!bytes.Equal(late[1].Command, doubtful[1].Command) || late[0].Term != 4 {
			t.Errorf("%+v: doubtful: %d %d to %d", c, read.Doubtful, read.First, read.Last)
		}
		checked, err := backup.Check(t.Context(), bytes.NewReader(file))
		if err != nil || checked.Summary != wrote {
			t.Fatalf("%+v: checked %+v: %v", c, checked, err)
		}
		for range 2 {
			var image, want bytes.Buffer
			n, err := checked.WriteTo(&image)
			if _, errWant := m.Image().WriteTo(&want); err != nil || errWant != nil || n != int64(image.Len()) || !bytes.Equal(image.Bytes(), want.Bytes()) {
				t.Errorf("%+v: its map is not what was written, in %d bytes: %v", c, n, err)
			}
		}
		sum := sha256.Sum256(file[:len(file)-sha256.Size])
		if !bytes.Equal(sum[:], file[len(file)-sha256.Size:]) {
			t.Errorf("%+v: the file does not end in the SHA-256 of what comes before", c)
		}
	}
}

// refused wants a file refused.
func refused(t *testing.T, what string, file []byte, kind error, says string) {
	t.Helper()
	_, err := backup.Read(bytes.NewReader(file), nil, nil)
	if !errors.Is(err, core.ErrDamaged) && !errors.Is(err, core.ErrInvalid) ||
		kind != nil && !errors.Is(err, kind) || err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v, want %v: %s", what, err, kind, says)
	}
}

// TestDamaged flips each byte of a backup, and cuts it off at each.
func TestDamaged(t *testing.T) {
	file, _ := write(t, filled(4, 6), entries(core.Remnant{Index: 2000, Term: 4, Command: kv.EncodeDelete("x")}))
	for i := range file {
		for _, bit := range []byte{1, 0x10, 0x80} {
			flipped := slices.Clone(file)
			flipped[i] ^= bit
			refused(t, fmt.Sprintf("byte %d flipped by %#x", i, bit), flipped, nil, "")
		}
		if i > 0 {
			refused(t, fmt.Sprintf("cut off after %d bytes", i), file[:i], core.ErrDamaged, "cut off")
		}
	}
	refused(t, "with a byte after it", append(slices.Clone(file), 0), core.ErrDamaged, "more follows")
	refused(t, "twice", slices.Concat(file, file), core.ErrDamaged, "more follows")
}

// TestForeign: other files are told by what they are.
func TestForeign(t *testing.T) {
	var snapshot bytes.Buffer
	i := filled(1, 1).Image()
	if _, err := i.WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file string
		says string
	}{
		{"", "it is empty"},
		{snapshot.String(), "kvnode dump"},
		{`{"key": "value"}`, "JSON"},
		{"\x1f\x8b\x08\x00more", "gzip"},
		{"PK\x03\x04more", "zip"},
		{"SQLite format 3\x00", `"SQLite format 3`},
		{"raftlab-backup 2\n{}\n", "use a newer one"},
	} {
		refused(t, c.says, []byte(c.file), core.ErrInvalid, c.says)
	}
	refused(t, "no version", []byte("raftlab-backup x\n"), core.ErrDamaged, "version")
	refused(t, "long header", []byte("raftlab-backup 1\n"+strings.Repeat("x", 100<<10)), core.ErrDamaged, "longer than")
}

// TestErrorsPass: those of the disk are not damage, and those of the caller are its own.
func TestErrorsPass(t *testing.T) {
	file, _ := write(t, filled(4, 6), nil)
	fault := errors.New("input/output error")
	for n := range file {
		from := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(fault))
		if _, err := backup.Read(from, nil, nil); !errors.Is(err, fault) || errors.Is(err, core.ErrDamaged) {
			t.Fatalf("fault at byte %d: %v", n, err)
		}
	}
	if _, err := backup.Read(bytes.NewReader(file), func(kv.Pair) error { return fault }, nil); err != fault {
		t.Errorf("the caller's error is %v", err)
	}
	full := &limited{left: len(file) / 2, err: fault}
	if s, err := backup.Write(full, header(), filled(4, 6).Image(), nil); !errors.Is(err, fault) || s.Bytes != int64(len(file)/2) {
		t.Errorf("%d bytes written: %v", s.Bytes, err)
	}
}

// TestChanged: a backup that is another one when it is read once more is refused, and so is
// one that can be read no more.
func TestChanged(t *testing.T) {
	file, _ := write(t, filled(4, 6), nil)
	other, _ := write(t, filled(4, 7), nil)
	for name, now := range map[string][]byte{"another": other, "damaged": file[:len(file)-1]} {
		path := filepath.Join(t.TempDir(), "backup")
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		checked, err := backup.Check(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, now, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := checked.WriteTo(io.Discard); !errors.Is(err, core.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := checked.WriteTo(io.Discard); !errors.Is(err, os.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrNoProgress)
	if _, err := backup.Check(ctx, bytes.NewReader(file)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("once ctx has ended: %v", err)
	}
}

// limited is a disk that has no more room.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), l.left)
	if l.left -= n; n < len(b) {
		return n, l.err
	}
	return n, nil
}

func FuzzRead(f *testing.F) {
	file, _ := write(f, filled(3, 5), entries(core.Remnant{Index: 2000, Term: 4, Command: []byte("c")}))
	f.Add(file)
	f.Add(file[:len(file)/2])
	f.Add([]byte("raftlab-backup 1\n{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := backup.Read(bytes.NewReader(data), nil, nil)
		if err != nil {
			return
		}
		checked, err := backup.Check(t.Context(), bytes.NewReader(data))
		var image bytes.Buffer
		if err == nil {
			_, err = checked.WriteTo(&image)
		}
		m := kv.New()
		if err := errors.Join(err, m.Restore(&image)); err != nil || checked.Summary != s || m.Image().Content() != s.Content {
			t.Fatalf("read %+v, checked %+v: %v", s, checked, err)
		}
	})
}
