package gossip

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/memberlist"

	"github.com/themilchenko/raftlab/core"
)

// ReadKeys reads a file of AES keys, one on a line, in hexadecimal or base64 of
// 16, 24 or 32 bytes (AES-128, -192, -256). Messages are encrypted with the first
// and understood with any. Blank lines and those that begin with # are skipped.
// Errors are core.ErrInvalid and name the line; they never hold a key.
func ReadKeys(path string) ([][]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %s:%w", path, err)
	}
	return keys, nil
}

func parseKeys(text []byte) ([][]byte, error) {
	var keys [][]byte
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := hex.DecodeString(line) // first: 32 hexadecimal digits are valid base64, too
		if err != nil {
			key, err = base64.StdEncoding.Strict().DecodeString(line)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%d: %w: neither hexadecimal nor base64; make one with: head -c 32 /dev/urandom | base64", i+1, core.ErrInvalid)
		case memberlist.ValidateKey(key) != nil:
			return nil, fmt.Errorf("%d: %w: a key of %d bytes, not 16, 24 or 32", i+1, core.ErrInvalid, len(key))
		case slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }):
			return nil, fmt.Errorf("%d: %w: the key is there already, further up", i+1, core.ErrInvalid)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("1: %w: no key; make one with: head -c 32 /dev/urandom | base64", core.ErrInvalid)
	}
	return keys, nil
}

// install makes the ring hold exactly keys, in their order.
func install(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(k); err != nil {
			return err
		}
	}
	// UseKey moves a key to the front, so afterwards those to be removed are last:
	// the library shifts keys in place, under the eyes of readers, when it
	// removes one in the middle.
	for _, k := range slices.Backward(keys) {
		if err := ring.UseKey(k); err != nil {
			return err
		}
	}
	for old := ring.GetKeys(); len(old) > len(keys); old = ring.GetKeys() {
		if err := ring.RemoveKey(old[len(old)-1]); err != nil {
			return err
		}
	}
	return nil
}
