package fault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
)

// ErrNothingThere says that a file holds nothing that could be damaged as asked.
var ErrNothingThere = errors.New("nothing to damage")

// FlipBit flips one bit of a file, anywhere in it, and says where.
func FlipBit(path string, random *rand.Rand) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(data) == 0 {
		return "", fmt.Errorf("%s: %w", path, ErrNothingThere)
	}
	at, bit := random.IntN(len(data)), random.IntN(8)
	data[at] ^= 1 << bit
	return fmt.Sprintf("bit %d of byte %d of %d", bit, at, len(data)), overwrite(path, data)
}

// FlipBitOf flips one bit of a text wherever the file holds it, and says where.
func FlipBitOf(path string, text []byte, random *rand.Rand) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	within, bit := random.IntN(len(text)), 1<<random.IntN(3)
	copies := 0
	for at := 0; ; copies++ {
		i := bytes.Index(data[at:], text)
		if i < 0 {
			break
		}
		data[at+i+within] ^= byte(bit)
		at += i + len(text)
	}
	if copies == 0 {
		return "", fmt.Errorf("%s has no %.20q: %w", path, text, ErrNothingThere)
	}
	return fmt.Sprintf("byte %d of %d copies", within, copies), overwrite(path, data)
}

// overwrite keeps the file that is there: its owner may have it open.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

// CutOff shortens a file to a part of its length, and says to which.
func CutOff(path string, random *rand.Rand) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Size() < 2 {
		return "", fmt.Errorf("%s: %w", path, ErrNothingThere)
	}
	left := 1 + random.Int64N(info.Size()-1)
	return fmt.Sprintf("%d of %d bytes left", left, info.Size()), os.Truncate(path, left)
}
