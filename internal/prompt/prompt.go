// Package prompt puts a question to who sits at a terminal. It takes no silence for a yes.
package prompt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Terminal says whether a stream is a terminal, so that somebody may sit there.
func Terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Yes writes a question to out and says whether a line of in answers it with yes. Where ctx
// ends first it returns the cause of that, and leaves the reading of in behind, which cannot
// be broken off: for the end of the program.
func Yes(ctx context.Context, in io.Reader, out io.Writer, question string) (bool, error) {
	if _, err := fmt.Fprintf(out, "%s [y/N] ", question); err != nil {
		return false, err
	}
	type line struct {
		text string
		err  error
	}
	answered := make(chan line, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		answered <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(out) // the answer's line
		return false, context.Cause(ctx)
	case l := <-answered:
		if l.err != nil && !errors.Is(l.err, io.EOF) {
			return false, l.err
		}
		text := strings.ToLower(strings.TrimSpace(l.text))
		return text == "y" || text == "yes", nil
	}
}
