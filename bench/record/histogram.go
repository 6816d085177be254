package record

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The geometry of every histogram in a run folder.
const (
	lowestNS         = 1
	highestNS        = int64(3600e9) // one hour: longer than any operation may take
	SignificantDigit = 3             // decimal digits that a recorded value keeps
)

// Bounds on what a histogram in a file may claim, so that a damaged or hostile
// file cannot make the reader allocate at will. With three digits a histogram
// of the whole int64 range has about 56 000 counts.
const (
	maxEncodedBytes = 1 << 20
	maxPayloadBytes = 1 << 20
	headerBytes     = 40 // cookie, payload length, offset, digits, lowest, highest, ratio
)

// NewHistogram returns an empty histogram of nanoseconds from 1 ns to one hour
// with [SignificantDigit] digits. A value beyond must be clamped by the caller.
func NewHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(lowestNS, highestNS, SignificantDigit)
}

// EncodeHistogram writes h as text: HdrHistogram V2, compressed, base64, which
// the tools of the other HdrHistogram libraries read too. Nil or empty gives
// the empty string.
func EncodeHistogram(h *hdrhistogram.Histogram) (string, error) {
	if h == nil || h.TotalCount() == 0 {
		return "", nil
	}
	if h.SignificantFigures() != SignificantDigit {
		return "", fmt.Errorf("encode histogram: %d significant digits, want %d", h.SignificantFigures(), SignificantDigit)
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("encode histogram: %w", err)
	}
	return string(text), nil
}

// DecodeHistogram reads what EncodeHistogram wrote; the empty string is an
// empty histogram. It is strict: a checksum that is off, bytes that are left
// over, another geometry or no sample at all is an [ErrDamaged], and nothing is
// recovered from such a text.
func DecodeHistogram(text string) (*hdrhistogram.Histogram, error) {
	if text == "" {
		return NewHistogram(), nil
	}
	if err := inspectHistogram(text); err != nil {
		return nil, fmt.Errorf("%w: histogram: %w", ErrDamaged, err)
	}
	h, err := hdrhistogram.Decode([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%w: histogram: %w", ErrDamaged, err)
	}
	if h.TotalCount() == 0 {
		return nil, fmt.Errorf("%w: histogram: holds no sample", ErrDamaged)
	}
	return h, nil
}

// MergeHistograms returns the sum of hs as a new histogram; nil ones count as
// empty.
func MergeHistograms(hs ...*hdrhistogram.Histogram) (*hdrhistogram.Histogram, error) {
	sum := NewHistogram()
	for _, h := range hs {
		if h == nil {
			continue
		}
		if h.TotalCount() > math.MaxInt64-sum.TotalCount() {
			return nil, fmt.Errorf("%w: histograms: more samples than can be counted", ErrDamaged)
		}
		if dropped := sum.Merge(h); dropped > 0 {
			return nil, fmt.Errorf("%w: histograms: %d samples lie beyond one hour", ErrDamaged, dropped)
		}
	}
	return sum, nil
}

// inspectHistogram checks what hdrhistogram.Decode is lenient about, and the
// geometry before anything is allocated for it.
func inspectHistogram(text string) error {
	if len(text) > maxEncodedBytes {
		return fmt.Errorf("%d bytes long, at most %d are allowed", len(text), maxEncodedBytes)
	}
	if strings.ContainsAny(text, "\r\n") {
		return fmt.Errorf("line break inside base64")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return err
	}
	if len(raw) < 8 {
		return fmt.Errorf("cut off after %d bytes", len(raw))
	}
	if claimed := binary.BigEndian.Uint32(raw[4:]); int64(claimed) != int64(len(raw)-8) {
		return fmt.Errorf("claims %d compressed bytes, has %d", claimed, len(raw)-8)
	}
	compressed := bytes.NewReader(raw[8:])
	z, err := zlib.NewReader(compressed)
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(io.LimitReader(z, headerBytes+maxPayloadBytes+1))
	if err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return inspectHeader(plain, compressed.Len())
}

func inspectHeader(plain []byte, leftOver int) error {
	switch {
	case leftOver > 0:
		return fmt.Errorf("%d bytes after the compressed data", leftOver)
	case len(plain) < headerBytes:
		return fmt.Errorf("header cut off after %d bytes", len(plain))
	case len(plain) > headerBytes+maxPayloadBytes:
		return fmt.Errorf("counts take more than %d bytes", maxPayloadBytes)
	}
	digits := int32(binary.BigEndian.Uint32(plain[12:]))
	lowest := int64(binary.BigEndian.Uint64(plain[16:]))
	highest := int64(binary.BigEndian.Uint64(plain[24:]))
	ratio := math.Float64frombits(binary.BigEndian.Uint64(plain[32:]))
	if digits != SignificantDigit || lowest != lowestNS || highest != highestNS {
		return fmt.Errorf("range %d..%d with %d digits, want %d..%d with %d",
			lowest, highest, digits, lowestNS, highestNS, SignificantDigit)
	}
	if ratio != 1 {
		return fmt.Errorf("conversion ratio %v, want 1", ratio)
	}
	return nil
}
