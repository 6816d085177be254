//go:build !linux

package enginetest

import "github.com/themilchenko/raftlab/engines/program"

// links are nil here: members reach each other directly.
type links struct{}

func newLinks(members []program.Address) (*links, []program.Address, error) {
	return nil, members, nil
}

func (*links) up(*member) error                   { return nil }
func (*links) down(*member)                       {}
func (*links) cut(*member, []*member, bool, bool) {}
func (*links) heal()                              {}
func (*links) close()                             {}
