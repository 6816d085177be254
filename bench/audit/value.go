package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"strconv"
)

// A value is text, so that a batch can carry it:
//
//	raftlab-audit <key> <write> <padding> <checksum>
const (
	valueMark     = "raftlab-audit"
	checksumBytes = 16 // in hex
)

var errCorrupt = errors.New("corrupt value")

// encodeValue returns the value of write seq to key, padded to size bytes. It is
// longer if the rest of it takes more.
func encodeValue(key string, seq, seed uint64, size int) []byte {
	v := make([]byte, 0, max(size, len(valueMark)+len(key)+checksumBytes+32))
	v = fmt.Appendf(v, "%s %s %d ", valueMark, key, seq)
	rng := rand.NewPCG(seed, seq)
	for pad := size - len(v) - 1 - checksumBytes; pad > 0; {
		var letters [8]byte
		binary.LittleEndian.PutUint64(letters[:], rng.Uint64())
		for i := range letters {
			letters[i] = 'a' + letters[i]&15
		}
		n := min(pad, len(letters))
		v = append(v, letters[:n]...)
		pad -= n
	}
	v = append(v, ' ')
	return fmt.Appendf(v, "%016x", checksum(v))
}

// decodeValue returns which write to which key the value is.
func decodeValue(v []byte) (key string, seq uint64, err error) {
	if len(v) < checksumBytes {
		return "", 0, fmt.Errorf("%w of %d bytes", errCorrupt, len(v))
	}
	body, sum := v[:len(v)-checksumBytes], v[len(v)-checksumBytes:]
	if string(sum) != fmt.Sprintf("%016x", checksum(body)) {
		return "", 0, fmt.Errorf("%w of %d bytes: its checksum is wrong", errCorrupt, len(v))
	}
	fields := bytes.SplitN(body, []byte(" "), 4)
	if len(fields) < 4 || string(fields[0]) != valueMark {
		return "", 0, fmt.Errorf("%w of %d bytes: it was not written by a load", errCorrupt, len(v))
	}
	seq, err = strconv.ParseUint(string(fields[2]), 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("%w: write %q", errCorrupt, fields[2])
	}
	return string(fields[1]), seq, nil
}

func checksum(b []byte) uint64 { return crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)) }
