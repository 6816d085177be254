package fault

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

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
