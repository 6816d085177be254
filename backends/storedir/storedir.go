// Package storedir makes the folder of a log store, and makes it last: a file that
// was flushed is still gone after a power loss if the folder that names it was not.
package storedir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Make makes dir where it is missing.
func Make(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the store's folder: %w", err)
	}
	return nil
}

// Flush makes dir, its name in its parent and the names of all files in it durable.
// Call it once the store has made its files, and before anything is said to be stored.
func Flush(dir string) error {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := flush(d); err != nil {
			return fmt.Errorf("flush the folder %s: %w", d, err)
		}
	}
	return nil
}

func flush(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
