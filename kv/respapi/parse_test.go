package respapi

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/tidwall/redcon"
)

// commandsIn reads all commands of a stream.
func commandsIn(from io.Reader) (all [][][]byte, err error) {
	r := newReader(from, func(int) error { return nil })
	for {
		args, err := r.command()
		if err != nil {
			return all, err
		}
		if args == nil {
			if err := r.fill(); err != nil {
				return all, err
			}
			continue
		}
		all = append(all, clone(args))
	}
}

// FuzzCommands: a stream is taken apart alike however it comes, as redcon takes it apart
// too, and never with more than was sent.
func FuzzCommands(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"))
	f.Add([]byte("PING\r\nset a b\r\n\r\n*0\r\n*-1\r\n*1\r\n$-1\r\n"))
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$99999999\r\n"))
	f.Add([]byte("*1\r\n$4\r\nPING\n\n"))
	f.Add([]byte("*131074\r\n"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, err := commandsIn(bytes.NewReader(stream))
		slowly, slowErr := commandsIn(iotest.OneByteReader(bytes.NewReader(stream)))
		if len(whole) != len(slowly) || (err == io.EOF) != (slowErr == io.EOF) {
			t.Fatalf("at once %d commands, %v; byte by byte %d, %v", len(whole), err, len(slowly), slowErr)
		}
		rest := stream
		for i, args := range whole {
			for j := range args {
				if !bytes.Equal(args[j], slowly[i][j]) {
					t.Fatalf("command %d: %q, and byte by byte %q", i, args, slowly[i])
				}
			}
			rest = agrees(t, rest, args)
		}
		if err != io.EOF && !errors.Is(err, errProtocol) && !errors.Is(err, errTooLarge) {
			t.Fatal(err)
		}
	})
}

// agrees compares a command with redcon's, and returns what follows it. redcon knows quotes
// in lines and another framing, which this protocol has not.
func agrees(t *testing.T, stream []byte, args [][]byte) []byte {
	for len(stream) > 0 {
		if stream[0] != '*' {
			return nil
		}
		complete, theirs, kind, rest, err := redcon.ReadNextCommand(stream, nil)
		switch {
		case err != nil || !complete: // a length below 0, which begins no command here
			return nil
		case len(theirs) == 0:
			stream = rest
			continue
		}
		if kind != redcon.Redis || len(theirs) != len(args) {
			t.Fatalf("%q, and redcon says %q", args, theirs)
		}
		for i := range args {
			if !bytes.Equal(args[i], theirs[i]) {
				t.Fatalf("%q, and redcon says %q", args, theirs)
			}
		}
		return rest
	}
	return nil
}

// TestReaderGrows: a command of many reads, and what the buffer for it is asked for.
func TestReaderGrows(t *testing.T) {
	value := bytes.Repeat([]byte("v"), 1<<20)
	stream := redcon.AppendArray(nil, 3)
	for _, arg := range [][]byte{[]byte("SET"), []byte("k"), value} {
		stream = redcon.AppendBulk(stream, arg)
	}
	held := 0
	r := newReader(io.MultiReader(bytes.NewReader(stream), bytes.NewReader(stream[:20])), func(bytes int) error { held += bytes; return nil })
	for {
		args, err := r.command()
		if err != nil {
			t.Fatal(err)
		}
		if args != nil {
			if len(args) != 3 || !bytes.Equal(args[2], value) {
				t.Fatalf("%d arguments", len(args))
			}
			break
		}
		if err := r.fill(); err != nil {
			t.Fatal(err)
		}
	}
	if held < 1<<20 || held > 4<<20 {
		t.Errorf("%d bytes held for a command of 1 MiB", held)
	}
	if args, err := r.command(); args != nil || err != nil {
		t.Fatalf("more commands: %q, %v", args, err)
	}
	if err := r.fill(); err != nil || held != 0 {
		t.Errorf("%d bytes held after it, %v", held, err)
	}
	refusal := errors.New("no room")
	full := newReader(bytes.NewReader(stream), func(int) error { return refusal })
	var err error
	for err == nil {
		if _, err = full.command(); err == nil {
			err = full.fill()
		}
	}
	if !errors.Is(err, refusal) {
		t.Error(err)
	}
}

// FuzzCursor: any cursor and options of SCAN are answered, without a panic.
func FuzzCursor(f *testing.F) {
	f.Add(uint64(0), "a*")
	f.Add(uint64(1), "")
	f.Fuzz(func(t *testing.T, cursor uint64, match string) {
		var s cursors
		mine := s.add("k")
		after, known := s.find(cursor)
		if known != (cursor == 0 || cursor == mine) || after != "" && cursor != mine {
			t.Fatalf("cursor %d: %q, %t", cursor, after, known)
		}
		if p := newPattern([]byte(match)); p.exact() != (p.prefix == match) {
			t.Fatalf("pattern %q: %q", match, p.prefix)
		}
	})
}

// TestCursorsAreBounded: the oldest are forgotten.
func TestCursorsAreBounded(t *testing.T) {
	var s cursors
	first := s.add("k")
	for range maxCursors {
		s.add("k")
	}
	if _, known := s.find(first); known || len(s.after) != maxCursors {
		t.Errorf("%d cursors, the first of more is known: %t", len(s.after), known)
	}
	large := string(make([]byte, 64<<10))
	for range 2 * maxCursorBytes / len(large) {
		s.add(large)
	}
	if s.bytes > maxCursorBytes || len(s.after) != len(s.order) {
		t.Errorf("%d bytes in %d cursors", s.bytes, len(s.after))
	}
}
