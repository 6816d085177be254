package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/kv"
)

// eachField calls each with every field of the JSON object that body is, in their
// order: a string or a bool as such, nil for null, a json.Number, or the
// json.Delim that an array or object begins with, which each must refuse. The
// names are different from each other.
//
// It refuses what encoding/json would mend in silence: a name that stands twice,
// bytes that are no UTF-8, halves of surrogate pairs.
func eachField(body []byte, each func(name string, value any) error) error {
	if at := invalidUTF8(body); at >= 0 {
		return badRequest("body: no valid UTF-8 at byte %d", at)
	}
	r := objectReader{body: body, json: json.NewDecoder(bytes.NewReader(body))}
	r.json.UseNumber()
	switch t, err := r.json.Token(); {
	case errors.Is(err, io.EOF):
		return badRequest("body: it is empty; want a JSON object")
	case err != nil:
		return r.malformed(err)
	case t != json.Delim('{'):
		return badRequest("body: want a JSON object, not %s", kindOf(t))
	}
	seen := map[string]bool{}
	for {
		name, value, err := r.field()
		if err != nil {
			return err
		}
		if value == json.Delim('}') {
			return r.end()
		}
		if seen[name] {
			return badRequest("body: %.100q stands there twice", name)
		}
		seen[name] = true
		if err := each(name, value); err != nil {
			return err
		}
	}
}

type objectReader struct {
	body []byte
	json *json.Decoder
}

// field returns the next name and value, or the end of the object as the value.
func (r *objectReader) field() (name string, value any, err error) {
	t, err := r.token("a name")
	if err != nil {
		return "", nil, err
	}
	name, ok := t.(string)
	if !ok { // the decoder lets nothing else through here
		return "", json.Delim('}'), nil
	}
	value, err = r.token(strconv.Quote(name[:min(len(name), 100)]))
	return name, value, err
}

// token returns the next token; what says which one, in errors.
func (r *objectReader) token(what string) (json.Token, error) {
	before := r.json.InputOffset()
	t, err := r.json.Token()
	if err != nil {
		return nil, r.malformed(err)
	}
	if _, ok := t.(string); ok && !surrogatesPaired(r.body[before:r.json.InputOffset()]) {
		return nil, badRequest(`body: %s: half of a surrogate pair (\ud800 to \udfff) is no text`, what)
	}
	return t, nil
}

// end sees that nothing follows the object.
func (r *objectReader) end() error {
	at := r.json.InputOffset()
	if rest := bytes.TrimLeft(r.body[at:], " \t\r\n"); len(rest) > 0 {
		return badRequest("body: %d bytes after the end of the object, at byte %d", len(rest), len(r.body)-len(rest))
	}
	return nil
}

func (r *objectReader) malformed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badRequest("body: it ends in the middle of the JSON, after %d bytes", len(r.body))
	}
	return badRequest("body: no valid JSON at byte %d: %v", r.json.InputOffset(), err)
}

// invalidUTF8 returns where text is no UTF-8, or -1.
func invalidUTF8(text []byte) int {
	if utf8.Valid(text) {
		return -1
	}
	at := 0
	for {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// surrogatesPaired reports whether each \ud800 to \udfff in a valid JSON string is
// one of a pair.
func surrogatesPaired(literal []byte) bool {
	for {
		at := bytes.IndexByte(literal, '\\')
		if at < 0 {
			return true
		}
		literal = literal[at:]
		first, ok := escapedUnit(literal)
		switch {
		case !ok:
			literal = literal[2:] // \n, \\ and so on
		case !utf16.IsSurrogate(first):
			literal = literal[6:]
		default:
			second, _ := escapedUnit(literal[6:])
			if utf16.DecodeRune(first, second) == utf8.RuneError {
				return false
			}
			literal = literal[12:]
		}
	}
}

// escapedUnit returns the UTF-16 unit that text begins with as \uXXXX.
func escapedUnit(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(unit), err == nil
}

// kindOf names a JSON value in errors.
func kindOf(value any) string {
	switch v := value.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case json.Delim:
		if v == '[' {
			return "an array"
		}
		return "an object"
	default:
		return "null"
	}
}

// decodeBatch reads the body of POST /key: the pairs as operations, in order.
func decodeBatch(body []byte) ([]kv.Op, error) {
	var ops []kv.Op
	err := eachField(body, func(key string, value any) error {
		v, ok := value.(string)
		switch {
		case !ok:
			return badRequest("body: the value of %.100q is %s: values are strings", key, kindOf(value))
		case key == "":
			return badRequest("body: the key is empty: keys have at least one byte")
		case len(ops) == kv.MaxBatchOps:
			return tooLarge("body: more than %d pairs", kv.MaxBatchOps)
		}
		ops = append(ops, kv.Op{Kind: kv.OpSet, Key: key, Value: []byte(v)})
		return checkKey(key)
	})
	if err == nil && len(ops) == 0 {
		err = badRequest("body: no pairs: want a JSON object of strings")
	}
	return ops, err
}
