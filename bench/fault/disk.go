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
	return flip(path, data, random.IntN(len(data)), random)
}

// FlipBitOf flips one bit in the text after one of the places where a file holds the
// mark, a place of few: the newer ones where a file grows.
func FlipBitOf(path string, mark []byte, random *rand.Rand) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var places []int
	for at := 0; ; {
		i := bytes.Index(data[at:], mark)
		if i < 0 {
			break
		}
		places = append(places, at+i)
		at += i + len(mark)
	}
	if len(places) == 0 {
		return "", fmt.Errorf("%s has no %q: %w", path, mark, ErrNothingThere)
	}
	at := places[random.IntN(len(places))] + len(mark) + random.IntN(8)
	return flip(path, data, min(at, len(data)-1), random)
}

func flip(path string, data []byte, at int, random *rand.Rand) (string, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return "", err
	}
	bit := random.IntN(3) // a low one: text stays text
	_, err = f.WriteAt([]byte{data[at] ^ 1<<bit}, int64(at))
	return fmt.Sprintf("bit %d of byte %d of %d", bit, at, len(data)), errors.Join(err, f.Close())
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
