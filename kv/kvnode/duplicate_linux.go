package kvnode

import (
	"os"

	"golang.org/x/sys/unix"
)

// duplicate makes the descriptor of an open file one of another file.
func duplicate(of, onto *os.File) error { return unix.Dup3(int(of.Fd()), int(onto.Fd()), 0) }
