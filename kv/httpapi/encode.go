package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/themilchenko/raftlab/kv"
	"github.com/themilchenko/raftlab/kv/api"
)

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

func pair(p kv.Pair) api.Pair {
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
