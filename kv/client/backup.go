package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/themilchenko/raftlab/kv/api"
)

// Backup returns a backup of the map as package kv/backup reads it; the caller closes it.
// It holds every write that was acknowledged before the call, unless level says otherwise.
// The timeout is for its beginning; then it goes on until ctx ends, or the node sends no
// more. An end that comes too early shows in the backup only.
func (c *Client) Backup(ctx context.Context, level Consistency) (io.ReadCloser, error) {
	return openBackup(ctx, c.do, level)
}

// Backup is [Client.Backup] of what this node holds.
func (n *Node) Backup(ctx context.Context, level Consistency) (io.ReadCloser, error) {
	return openBackup(ctx, n.send, level)
}

func openBackup(ctx context.Context, send send, level Consistency) (io.ReadCloser, error) {
	query := url.Values{"consistency": {string(level.orDefault())}}
	a, err := send(ctx, call{method: http.MethodGet, path: "/backup", query: query, leader: level == Leader, stream: true})
	return a.stream, failed("backup", err)
}

// A restore replaces the map of the group, all or nothing: parts, and then the commit.
// Each of these calls is sent again until a node has carried it out, which does no harm,
// and may be made again where it has failed.

// RestorePart brings part number part, from 0, of the restore, under an id that its caller
// chooses. pairs are as kv.AppendPair makes them. Part 0 drops what another restore has
// brought. The map stays as it is.
func (c *Client) RestorePart(ctx context.Context, restore string, part int, pairs []byte) error {
	k := restoreCall(http.MethodPut, restore, url.Values{"part": {strconv.Itoa(part)}})
	k.body, k.header = pairs, http.Header{"Content-Type": {"application/octet-stream"}}
	_, err := c.do(ctx, k)
	return failed(fmt.Sprintf("restore, part %d", part), err)
}

// RestoreCommit replaces the map by what the restore has brought: so many keys with that
// digest of their content. It returns the index of the log entry that did so. Unless the
// error is an [ErrCondition], which says that the restore was given up, and an
// [ErrInvalid], whether it was replaced is not known.
func (c *Client) RestoreCommit(ctx context.Context, restore string, keys uint64, content [32]byte) (uint64, error) {
	query := url.Values{"keys": {strconv.FormatUint(keys, 10)}, "content": {hex.EncodeToString(content[:])}}
	a, err := c.do(ctx, restoreCall(http.MethodPost, restore, query))
	if err != nil {
		if !errors.Is(err, ErrCondition) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrOutcomeUnknown) {
			err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		return 0, fmt.Errorf("restore, commit: %w", err)
	}
	index, err := strconv.ParseUint(a.header.Get(api.HeaderIndex), 10, 64)
	return index, failed("restore, commit: answer of "+a.endpoint, err)
}

// RestoreForget gives up the restore, and drops what it has brought. It never changes the
// map, nor a restore that is done.
func (c *Client) RestoreForget(ctx context.Context, restore string) error {
	_, err := c.do(ctx, restoreCall(http.MethodDelete, restore, nil))
	return failed("forget the restore", err)
}

// restoreCall is none of a write: it may be repeated whatever became of it.
func restoreCall(method, restore string, query url.Values) call {
	return call{method: method, path: "/restore/" + escape(restore), query: query, leader: true}
}
