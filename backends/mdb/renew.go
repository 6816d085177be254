//go:build cgo

package mdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	gomdb "github.com/armon/gomdb"
	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/themilchenko/raftlab/backends/storedir"
)

// go-msgpack, by which raft-mdb keeps entries, wrote a time as time.Time.MarshalBinary
// does, up to v0.5. Since v1.1 it has the form of msgpack's own times, and v1.1 reads no
// other. raft-mdb offers neither a choice nor its raw values, so old entries are written
// anew before it opens the file.

// untilTime is how raft-mdb begins an entry: a map of six fields, in the order of their
// names. The time follows.
const untilTime = "\x86\xaaAppendedAt"

// batchBytes is how much is written anew in one transaction, which LMDB keeps in memory
// and in the map beside what it replaces.
const batchBytes = 4 << 20

// renewEntries writes entries of the old form in the one that raft-mdb reads. The last
// ones are first, so that those that an error or a crash leaves are where oldKeys finds
// them. No store may have the file open, since LMDB takes only one environment of a file
// in a process.
func renewEntries(dir string, mapSizeBytes uint64) (err error) {
	env, err := gomdb.NewEnv()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	const tables = 2
	if err := errors.Join(env.SetMaxDBs(tables), env.SetMapSize(mapSizeBytes)); err != nil {
		return err
	}
	if err := env.Open(dir, gomdb.NOTLS, 0o755); err != nil {
		return err
	}
	var keys [][]byte
	err = transaction(env, gomdb.RDONLY, func(tx *gomdb.Txn) (err error) { keys, err = oldKeys(tx); return err })
	for err == nil && len(keys) > 0 {
		err = transaction(env, 0, func(tx *gomdb.Txn) (err error) { keys, err = renewLast(tx, keys); return err })
	}
	return err
}

// transaction commits what do has done, and nothing where that fails.
func transaction(env *gomdb.Env, flags uint, do func(*gomdb.Txn) error) error {
	tx, err := env.BeginTxn(nil, flags)
	if err != nil {
		return err
	}
	if err, _ := storedir.Safely(func() error { return do(tx) }); err != nil {
		tx.Abort()
		return err
	}
	return tx.Commit()
}

// oldKeys returns the keys of entries of the old form. A log is written in order, so
// they come first, and the search ends at the first of the new form.
func oldKeys(tx *gomdb.Txn) (keys [][]byte, err error) {
	logs, err := tx.DBIOpen(storedir.LogsTree, 0)
	if errors.Is(err, gomdb.NotFound) {
		return nil, nil // a new file
	}
	if err != nil {
		return nil, err
	}
	cursor, err := tx.CursorOpen(logs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cursor.Close()) }()
	for {
		key, value, err := cursor.Get(nil, gomdb.NEXT)
		switch {
		case errors.Is(err, gomdb.NotFound):
			return keys, nil
		case err != nil:
			return nil, err
		case oldTimeBytes(value) == 0:
			return keys, nil
		}
		keys = append(keys, key)
	}
}

// renewLast writes a batch of entries anew, from the last on, and returns the keys of
// those that are left.
func renewLast(tx *gomdb.Txn, keys [][]byte) (left [][]byte, err error) {
	logs, err := tx.DBIOpen(storedir.LogsTree, 0)
	if err != nil {
		return nil, err
	}
	for done := 0; len(keys) > 0 && done < batchBytes; {
		key := keys[len(keys)-1]
		value, err := tx.Get(logs, key)
		if err == nil {
			value, err = renew(value)
		}
		if err == nil {
			err = tx.Put(logs, key, value, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("log entry %d: %w", binary.BigEndian.Uint64(key), err)
		}
		keys, done = keys[:len(keys)-1], done+len(value)
	}
	return keys, nil
}

// oldTimeBytes returns the length of the time that an entry of the old form begins with,
// and 0 of any other. Both forms are strings of msgpack: the old of 15 bytes, or 16 where
// the time zone has seconds; the new of 4, 8 or 12.
func oldTimeBytes(value []byte) int {
	const shortString = 0xA0 // and the length
	rest, ok := bytes.CutPrefix(value, []byte(untilTime))
	if !ok || len(rest) == 0 || rest[0] != shortString+15 && rest[0] != shortString+16 {
		return 0
	}
	return int(rest[0] - shortString)
}

// renew returns an entry of the old form in the new one, in which only the time differs.
func renew(value []byte) ([]byte, error) {
	const from = len(untilTime) + 1
	end := from + oldTimeBytes(value)
	if end > len(value) {
		return nil, storedir.Damaged("it ends within its time")
	}
	var at time.Time
	if err := at.UnmarshalBinary(value[from:end]); err != nil {
		return nil, storedir.Damaged("its time: %v", err)
	}
	var encoded []byte
	if err := codec.NewEncoderBytes(&encoded, new(codec.MsgpackHandle)).Encode(at); err != nil {
		return nil, fmt.Errorf("encode %s: %w", at, err)
	}
	return bytes.Join([][]byte{[]byte(untilTime), encoded, value[end:]}, nil), nil
}
