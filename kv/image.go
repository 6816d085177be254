package kv

import (
	"bufio"
	"crypto/sha256"
	"io"
)

// Image is the map at one moment, to be kept or moved: all keys with the indexes of their
// changes, and what has been applied. What belongs to its group alone is not in it: the
// directory of the members, and what it remembers of restores.
type Image struct{ snapshot }

// Image captures the map, in constant time; later changes copy what they touch. The caller
// releases it.
func (s *Store) Image() *Image {
	state := s.capture()
	state.nodes, state.staged, state.restored, state.givenUp = nil, nil, "", ""
	return &Image{snapshot{state}}
}

// Index returns the log index of the last command that was applied.
func (i *Image) Index() uint64 { return i.state.index }

// Keys returns how many keys there are.
func (i *Image) Keys() int { return i.state.entries.Len() }

// Content returns a SHA-256 over keys and values alone, in order: for each the length of
// the key as a uvarint, the key, and the value likewise. Maps with the same content have the
// same, whatever log or group they came from. It reads the whole map.
func (i *Image) Content() [sha256.Size]byte {
	h := sha256.New()
	i.state.entries.Scan(func(key string, e entry) bool {
		addContent(h, key, e.value)
		return true
	})
	return [sha256.Size]byte(h.Sum(nil))
}

// ImageInfo is what stands in an image beside its keys.
type ImageInfo struct {
	Index   uint64 // of the last command that was applied
	Keys    uint64
	Content [sha256.Size]byte // as Image.Content
}

// ScanImage calls each with the pairs of an image that was written, in order, as they are
// read. That none of them is damaged, or missing, is known only once it has returned nil.
// An error is an ErrSnapshot, one of the reader's or one of each's.
func ScanImage(from io.Reader, each func(Pair) error) (ImageInfo, error) {
	d := snapshotReader{from: bufio.NewReaderSize(from, snapshotBuffer)}
	s := new(state)
	if version := d.head(s); d.err == nil && (version != snapshotVersion || s.nodes != nil) {
		d.fail("it is not of the map alone")
	}
	h := sha256.New()
	info := ImageInfo{Index: s.index}
	info.Keys = d.entries(s.index, func(p Pair) error {
		addContent(h, p.Key, p.Value)
		return each(p)
	})
	d.trailer()
	info.Content = [sha256.Size]byte(h.Sum(nil))
	return info, d.err
}
