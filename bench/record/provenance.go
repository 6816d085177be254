package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"strings"
)

// Provenance identifies the data of a run: whatever is computed of a run with the same
// provenance comes out the same. It is the SHA-256, in hex, of what sha256sum prints of
// the manifest and then of each trial in the order of their names' bytes, so that it can
// be computed without this program:
//
//	sha256sum manifest.json trials/*.json | sha256sum
//
// It changes when trials are added and when the run is gone on with.
func (f *Folder) Provenance() (string, error) {
	names := []string{ManifestFile}
	entries, err := os.ReadDir(f.path(TrialsDir)) // sorted
	if err != nil {
		return "", fmt.Errorf("provenance of %s: %w", f.dir, err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, path.Join(TrialsDir, e.Name()))
		}
	}
	whole := sha256.New()
	for _, name := range names {
		data, err := f.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("provenance of %s: %w", f.dir, err)
		}
		fmt.Fprintf(whole, "%x  %s\n", sha256.Sum256(data), name) // a hash takes whatever it is given
	}
	return hex.EncodeToString(whole.Sum(nil)), nil
}

// ShortID is the part of a hash that tells it from others well enough to be printed.
func ShortID(hash string) string { return hash[:min(12, len(hash))] }
