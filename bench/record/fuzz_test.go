package record

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"
)

func TestHistogramRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHistogram()
		for _, v := range rapid.SliceOf(rapid.Int64Range(0, highestNS)).Draw(t, "values") {
			if err := h.RecordValue(v); err != nil {
				t.Fatal(err)
			}
		}
		text, err := EncodeHistogram(h)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeHistogram(text)
		if err != nil {
			t.Fatal(err)
		}
		if !h.Equals(back) {
			t.Fatal("the histogram changed on its way")
		}
	})
}

// TestHistogramDetectsAnyChange flips one bit of the bytes behind the base64:
// nothing of such a text may be believed.
func TestHistogramDetectsAnyChange(t *testing.T) {
	text := histogramText(t)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := DecodeHistogram(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		for bit := range 8 {
			spoilt := bytes.Clone(raw)
			spoilt[i] ^= 1 << bit
			h, err := DecodeHistogram(base64.StdEncoding.EncodeToString(spoilt))
			if err == nil && !h.Equals(want) {
				t.Errorf("byte %d, bit %d: decoded into other samples", i, bit)
			}
		}
	}
	for name, text := range map[string]string{
		"cut off":      text[:len(text)/2],
		"line break":   text[:8] + "\n" + text[8:],
		"left over":    base64.StdEncoding.EncodeToString(append(bytes.Clone(raw), 0)),
		"not base64":   "***",
		"too short":    "AAAA",
		"other digits": encodeForeign(t, hdrhistogram.New(1, highestNS, 5)),
		"other range":  encodeForeign(t, hdrhistogram.New(1, math.MaxInt64, 3)),
	} {
		if _, err := DecodeHistogram(text); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func encodeForeign(t *testing.T, h *hdrhistogram.Histogram) string {
	t.Helper()
	if err := h.RecordValue(5); err != nil {
		t.Fatal(err)
	}
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEncodeHistogramEmpty(t *testing.T) {
	for _, h := range []*hdrhistogram.Histogram{nil, NewHistogram()} {
		if text, err := EncodeHistogram(h); text != "" || err != nil {
			t.Errorf("%q, %v", text, err)
		}
	}
	if _, err := EncodeHistogram(mustRecord(t, hdrhistogram.New(1, 1000, 2))); err == nil {
		t.Error("two digits: encoded")
	}
}

func mustRecord(t *testing.T, h *hdrhistogram.Histogram) *hdrhistogram.Histogram {
	t.Helper()
	if err := h.RecordValue(7); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestMergeHistograms(t *testing.T) {
	a, b := NewHistogram(), NewHistogram()
	mustRecord(t, a)
	mustRecord(t, b)
	sum, err := MergeHistograms(a, nil, b)
	if err != nil || sum.TotalCount() != 2 || a.TotalCount() != 1 {
		t.Errorf("sum of %d samples, %v; first has %d", sum.TotalCount(), err, a.TotalCount())
	}
	if err := a.RecordValues(9, math.MaxInt64-1); err != nil {
		t.Fatal(err)
	}
	if _, err := MergeHistograms(a, b); !errors.Is(err, ErrDamaged) {
		t.Errorf("overflow: %v", err)
	}
}

func FuzzDecodeHistogram(f *testing.F) {
	f.Add("")
	f.Add("HISTFAAAAB")
	f.Add(histogramText(f))
	f.Fuzz(func(t *testing.T, text string) {
		h, err := DecodeHistogram(text)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v is no ErrDamaged", err)
			}
			return
		}
		again, err := EncodeHistogram(h)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeHistogram(again)
		if err != nil || !back.Equals(h) {
			t.Fatalf("does not read back: %v", err)
		}
	})
}

func FuzzDecodeManifest(f *testing.F) {
	whole, err := encodeJSON(manifestOf(session()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":3}`))
	f.Add([]byte(`{"format":4}`))
	f.Add([]byte(`{"format":1,"cells":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, _, err := decodeManifest(data)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatalf("%v is neither ErrDamaged nor ErrNewer", err)
			}
			return
		}
		again, err := encodeJSON(m)
		if err != nil {
			t.Fatal(err)
		}
		back, _, err := decodeManifest(again)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := encodeJSON(back)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, twice) {
			t.Fatalf("first\n%s\nthen\n%s", again, twice)
		}
	})
}

func FuzzDecodeTrial(f *testing.F) {
	whole, err := encodeJSON(trialOf(f, "c01", 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"cell":"c01","trial":1,"window_ns":1}`))
	f.Add([]byte(`{"cell":"c01","trial":1,"window_ns":0,"formation":{"poll_ns":5}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := decodeTrial(data, "load")
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%v is no ErrDamaged", err)
			}
			return
		}
		again, err := encodeJSON(tr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeTrial(again, "load"); err != nil {
			t.Fatal(err)
		}
	})
}
