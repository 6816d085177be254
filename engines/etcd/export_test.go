package etcd

import (
	"context"
	"io"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
)

// Forge writes messages as the member from sends them to the member to on a connection that it
// has just made.
func Forge(w io.Writer, from, to core.Member, messages ...*pb.Message) error {
	if err := writeHello(w, forMessages, from.Address); err != nil {
		return err
	}
	var data []byte
	for _, m := range messages {
		m.From, m.To = proto.Uint64(number(from)), proto.Uint64(number(to))
		var err error
		if data, err = appendFrame(data, frame{Message: m}); err != nil {
			return err
		}
	}
	_, err := w.Write(data)
	return err
}

// Voted returns whom a replica has voted for in its term; nobody: false.
func Voted(ctx context.Context, r core.Replica) (vote bool, err error) {
	e := r.(*replica)
	err = e.call(ctx, "look", func(d *driver) { vote = d.node.BasicStatus().GetVote() != 0 })
	return vote, err
}
