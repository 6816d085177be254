package fault

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/hashicorp/raft"
)

// ErrNothingThere says that a file holds nothing that could be damaged as asked.
var ErrNothingThere = errors.New("nothing to damage")

// FlipBit flips one bit of a file, anywhere up to its last byte that is not zero, and says
// where: behind it is what was reserved only.
func FlipBit(path string, random *rand.Rand) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(data) == 0 {
		return "", fmt.Errorf("%s: %w", path, ErrNothingThere)
	}
	at, bit := random.IntN(max(1, len(bytes.TrimRight(data, "\x00")))), random.IntN(8)
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

const forgeTimeout = 2 * time.Second

// ForgeVote asks for the vote of the member that listens for Raft at the address, in a
// term near the end of all terms, under no id, and says what came back.
func ForgeVote(address string) string {
	transport, err := raft.NewTCPTransport("127.0.0.1:0", nil, 1, forgeTimeout, io.Discard)
	if err != nil {
		return err.Error()
	}
	defer transport.Close()
	var response raft.RequestVoteResponse
	request := &raft.RequestVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, Addr: []byte("127.0.0.1:1")},
		Term:      math.MaxUint64 - 1, Candidate: []byte("127.0.0.1:1"),
		LastLogIndex: math.MaxUint64 - 1, LastLogTerm: math.MaxUint64 - 1, LeadershipTransfer: true,
	}
	if err := transport.RequestVote("", raft.ServerAddress(address), request, &response); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("granted %t in term %d", response.Granted, response.Term)
}

// Crowd opens connections that say nothing, or, with junk, that begin to say what
// makes no sense, and keeps them until ctx ends. It returns how many could be opened.
func Crowd(ctx context.Context, address string, count int, junk bool, random *rand.Rand) int {
	opened := 0
	for range count {
		c, err := net.DialTimeout("tcp", address, forgeTimeout)
		if err != nil {
			continue
		}
		defer c.Close()
		opened++
		if junk {
			_ = c.SetWriteDeadline(time.Now().Add(forgeTimeout))
			_, _ = c.Write(nonsense(random)) // the other side may hang up
		}
	}
	<-ctx.Done()
	return opened
}

// nonsense is random bytes, or the beginning of a message of Raft whose first field
// claims to have 64 MiB.
func nonsense(random *rand.Rand) []byte {
	if random.IntN(2) == 0 {
		message := []byte{byte(random.IntN(5)), 0x81, 0xa2, 'I', 'D', 0xc6}
		return binary.BigEndian.AppendUint32(message, 64<<20)
	}
	junk := make([]byte, 1+random.IntN(4096))
	for i := range junk {
		junk[i] = byte(random.Uint32())
	}
	return junk
}
