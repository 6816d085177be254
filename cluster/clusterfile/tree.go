package clusterfile

import (
	"math"
	"strconv"
)

// value is a part of a document and the line it stands on, whatever the format.
type value struct {
	line int
	data any // bool, int64, float64, string, []value, table or unsupported
}

// table is a mapping in the order of the file.
type table []entry

type entry struct {
	key   string
	line  int
	value value
}

// unsupported is something that a format can say and a cluster file must not;
// the text says what, as the end of "must be a string, not …".
type unsupported string

// maxDepth bounds how deep tables and lists nest.
const maxDepth = 16

// kind names what v is, for messages.
func (v value) kind() string {
	switch d := v.data.(type) {
	case bool:
		return strconv.FormatBool(d)
	case int64:
		return "the number " + strconv.FormatInt(d, 10)
	case float64:
		return "the number " + strconv.FormatFloat(d, 'g', -1, 64)
	case string:
		return "the string " + strconv.Quote(abridge(d))
	case []value:
		return "a list"
	case table:
		return "a table"
	case unsupported:
		return string(d)
	}
	return "something else"
}

// abridge keeps a text out of a file from flooding a message.
func abridge(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// number admits the floats that both formats can write and that equal themselves.
func number(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return unsupported("a number that is not finite")
	}
	return f
}
