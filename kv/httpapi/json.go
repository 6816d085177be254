package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/core"
	"github.com/themilchenko/raftlab/internal/hostport"
	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
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

// decodeJoin reads the body of POST /join and checks it, but for what only the
// group knows.
func decodeJoin(body []byte) (api.Join, error) {
	var j api.Join
	err := decodeFields(body, map[string]taker{
		"id": take(&j.ID), "incarnation": take(&j.Incarnation), "group": take(&j.Group), "address": take(&j.Address),
		"http_address": take(&j.HTTPAddress), "nonvoter": take(&j.Nonvoter), "has_state": take(&j.HasState),
	})
	if err != nil {
		return api.Join{}, err
	}
	return j, checkJoin(j)
}

// decodeTransfer reads the body of POST /transfer, which may be empty.
func decodeTransfer(body []byte) (api.Transfer, error) {
	var t api.Transfer
	if len(bytes.TrimSpace(body)) == 0 {
		return t, nil
	}
	return t, decodeFields(body, map[string]taker{"id": take(&t.ID)})
}

// taker stores the value of the field of a name.
type taker func(name string, value any) error

// take stores a value that has to be a T.
func take[T string | bool](to *T) taker {
	return func(name string, value any) (err error) {
		v, ok := value.(T)
		if *to = v; !ok {
			err = badRequest("body: %s: want a %T, not %s", name, *to, kindOf(value))
		}
		return err
	}
}

// decodeFields reads a JSON object that may have these fields.
func decodeFields(body []byte, fields map[string]taker) error {
	return eachField(body, func(name string, value any) error {
		take, known := fields[name]
		if !known {
			return badRequest("body: there is no field %.40q; known are %s", name, strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		return take(name, value)
	})
}

// checkJoin checks what can be checked without knowing the group.
func checkJoin(j api.Join) error {
	if err := checkID(j.ID); err != nil {
		return badRequest("body: id %.40q: %v", j.ID, err)
	}
	if i := strings.LastIndex(j.ID, "#"); i >= 0 && core.IsIncarnation(j.ID[i+1:]) {
		return badRequest("body: id %.60q: it ends as if it named an incarnation: that is a field of its own", j.ID)
	}
	for name, value := range map[string]string{"incarnation": j.Incarnation, "group": j.Group} {
		if value != "" && !core.IsIncarnation(value) {
			return badRequest("body: %s %.40q: want 16 hexadecimal digits, as /status shows them", name, value)
		}
	}
	if j.Address == "" || len(j.Address) > kv.MaxNodeBytes {
		return badRequest("body: address %.40q: want the member's Raft address, up to %d bytes", j.Address, kv.MaxNodeBytes)
	}
	return checkHostPort("http_address", j.HTTPAddress)
}

// checkID refuses ids that cannot stand in a header. Longer ones than are given to
// newcomers, discovery.MaxIDBytes, may be members from before.
func checkID(id string) error {
	switch {
	case id == "":
		return errors.New("it is empty")
	case len(id) > kv.MaxNodeBytes:
		return fmt.Errorf("it has %d bytes: at most %d are allowed", len(id), kv.MaxNodeBytes)
	case !headerSafe(id):
		return errors.New("it must not hold control characters, nor begin or end with a space")
	}
	return nil
}

// checkAddress checks a Raft address. What it looks like is the transport's
// business, so it is only held to be host:port if this node's own is.
func checkAddress(own, field, address string) error {
	if _, _, err := net.SplitHostPort(own); err != nil {
		return nil
	}
	return checkHostPort(field, address)
}

// checkHostPort refuses addresses that other nodes could not reach.
func checkHostPort(field, address string) error {
	if err := hostport.CheckDial(address); err != nil {
		return badRequest("body: %s %.40q: %v", field, address, err)
	}
	if len(address) > kv.MaxNodeBytes || !headerSafe(address) {
		return badRequest("body: %s %.40q: want host:port", field, address)
	}
	return nil
}

// headerSafe reports whether a header can carry text as it is.
func headerSafe(text string) bool {
	return strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

const (
	typeJSON  = "application/json"
	typeBytes = "application/octet-stream"
	// headerEncoding says "base64" where a value of GET /key/{key} is no UTF-8.
	headerEncoding = "X-Kv-Encoding"
)

// jsonAnswer is an answer with v as its body. All that is given to it can be
// encoded.
func jsonAnswer(status int, v any) answer {
	return answer{status: status, header: http.Header{"Content-Type": {typeJSON}}, body: encodeJSON(v)}
}

// encodeJSON encodes v without spaces, without a newline at the end, and with <, >
// and & as they are.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // a defect of this package
		return encodeJSON(api.Error{Error: err.Error(), Code: api.CodeInternal})
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// binaryValue is the body of GET /key/{key} where key or value cannot stand in
// JSON as they are.
type binaryValue struct {
	Key         string  `json:"key,omitempty"`
	KeyBase64   string  `json:"key_base64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

// valueAnswer is the answer to GET /key/{key}.
func valueAnswer(status int, key string, value []byte) answer {
	if utf8.ValidString(key) && utf8.Valid(value) {
		return jsonAnswer(status, map[string]string{key: string(value)})
	}
	var body binaryValue
	body.Key, body.KeyBase64 = plainOrBase64(key)
	if plain := string(value); utf8.ValidString(plain) {
		body.Value = &plain
	} else {
		encoded := base64.StdEncoding.EncodeToString(value)
		body.ValueBase64 = &encoded
	}
	a := jsonAnswer(status, body)
	a.header.Set(headerEncoding, "base64")
	return a
}

// bytesAnswer is the answer to a read that asks for the bare bytes. The body is
// the map's own and must not be changed.
func bytesAnswer(status int, value []byte) answer {
	return answer{status: status, header: http.Header{"Content-Type": {typeBytes}}, body: value}
}

// PairOf is a key as it stands in JSON.
func PairOf(p kv.Pair) api.Pair {
	wire := api.Pair{Index: p.Index}
	wire.Key, wire.KeyBase64 = plainOrBase64(p.Key)
	wire.Value, wire.ValueBase64 = plainOrBase64(string(p.Value))
	return wire
}

func plainOrBase64(s string) (plain, encoded string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return "", base64.StdEncoding.EncodeToString([]byte(s))
}

// escape percent-encodes a key for a query; a space as %20, which is right
// everywhere.
func escape(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "+", "%20") }

// encodedBytes returns how long text is in JSON, in base64 where it is not UTF-8.
func encodedBytes(text []byte) int {
	if !utf8.Valid(text) {
		return base64.StdEncoding.EncodedLen(len(text))
	}
	n := len(text)
	for _, c := range text {
		switch {
		case c < ' ':
			n += 5 // \u0000
		case c == '"', c == '\\':
			n++
		case c == 0xe2: // of U+2028 and U+2029, which become \u2028 and \u2029
			n += 3
		}
	}
	return n
}
