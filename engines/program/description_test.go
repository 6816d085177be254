package program

import (
	"strings"
	"testing"
)

const whole = `{"protocol": 1, "engine": "ratis", "library": "org.apache.ratis", "version": "3.2.0", "language": "Java 17",
"storage": {"name": "segments", "library": "l", "version": "v"}, "transport": {"name": "grpc"}, "durability": "disk",
"read_levels": ["linearizable", "stale"], "reads": "read index", "features": ["transfer"],
"settings": {"max_in_flight": {"default": "64", "doc": "how many", "honoured": true}}, "runs": {"max_in_flight": "64"}}`

// TestParseDescription: what is wrong is named.
func TestParseDescription(t *testing.T) {
	if _, err := parseDescription([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ old, now, want string }{
		{`"protocol": 1`, `"protocol": 2`, "protocol: 2"},
		{`"ratis"`, `""`, "engine:"},
		{`"3.2.0"`, `3`, "version"},
		{`"disk"`, `"yes"`, "durability:"},
		{`"linearizable", `, ``, "read_levels: linearizable is missing"},
		{`"linearizable", "stale"`, `"linearizable", "fresh"`, "read_levels:"},
		{`"read index"`, `"index"`, "reads:"},
		{`["transfer"]`, `["transfer", "transfer"]`, "features:"},
		{`"how many"`, `""`, "settings.max_in_flight.doc"},
		{`"max_in_flight": {`, `"Max": {`, `settings: key "Max"`},
		{`"segments"`, `""`, "storage.name"},
		{`"engine"`, `"warmup_operations": -1, "engine"`, "warmup_operations: -1"},
	} {
		text := strings.Replace(whole, x.old, x.now, 1)
		if _, err := parseDescription([]byte(text)); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v; want %s", x.now, err, x.want)
		}
	}
	for _, text := range []string{"", "raftlab", whole + "\nWARNING"} {
		if _, err := parseDescription([]byte(text)); err == nil {
			t.Errorf("%.20q was taken", text)
		}
	}
}

func FuzzDescription(f *testing.F) {
	f.Add([]byte(whole))
	f.Fuzz(func(t *testing.T, text []byte) {
		if d, err := parseDescription(text); err == nil && (d.Engine == "" || d.Protocol != Protocol) {
			t.Errorf("%+v was taken", d)
		}
	})
}
