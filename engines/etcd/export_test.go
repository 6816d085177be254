package etcd

import (
	"io"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/themilchenko/raftlab/core"
)

// Forge writes a heartbeat of term that says that commit is committed, as the member from sends
// it to the member to on a connection that it has just made.
func Forge(w io.Writer, from, to core.Member, term, commit uint64) error {
	if err := writeHello(w, forMessages, from.Address); err != nil {
		return err
	}
	m := &pb.Message{Type: pb.MsgHeartbeat.Enum(), From: proto.Uint64(number(from)), To: proto.Uint64(number(to)), Term: &term, Commit: &commit}
	data, err := appendFrame(nil, frame{Message: m})
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}
