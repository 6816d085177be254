package links

import "testing"

// TestRoutes: nobody is looked for elsewhere who answers where it should, and of several places each has
// its turn.
func TestRoutes(t *testing.T) {
	const name, configured = "n1#0011223344556677", "a:1"
	says := func(at string) Source {
		return func(id string) (string, bool) {
			if id != "n1" {
				t.Errorf("asked for %s", id)
			}
			return at, at != ""
		}
	}
	for _, c := range []struct {
		what    string
		sources []Source
		want    []string // where it is tried, until it starts over
	}{
		{"nobody moves", nil, []string{configured}},
		{"no source", []Source{nil}, []string{configured}},
		{"not known elsewhere", []Source{says("")}, []string{configured}},
		{"known where it should be", []Source{says(configured)}, []string{configured}},
		{"known elsewhere", []Source{says("b:1")}, []string{configured, "b:1"}},
		{"an outdated source before another", []Source{says(configured), nil, says("c:1")}, []string{configured, "c:1"}},
		{"several places", []Source{says("b:1"), says("b:1"), says("c:1")}, []string{configured, "b:1", "c:1"}},
	} {
		r := NewRoutes(c.sources...)
		for i := range 2*len(c.want) + 1 {
			at := r.Target(name, configured)
			if want := c.want[i%len(c.want)]; at != want {
				t.Errorf("%s: try %d goes to %s, want %s", c.what, i, at, want)
			}
			if r.Target(name, configured) != at {
				t.Errorf("%s: it changes without a failure", c.what)
			}
			r.Failed(name, configured, at)
		}
		r.Failed(name, configured, "nowhere:1") // from before it was another place's turn
		if at := r.Target(name, configured); at != configured {
			t.Errorf("%s: an old failure leads to %s", c.what, at)
		}
	}
}
