package conf

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"node1", "node2", "node10", "leader"}
	for typed, want := range map[string]string{
		"nod2": "node2", "node1x": "node1", "ndoe10": "node10", "Leader": "leader", "zebra": "", "": "", "node": "node1",
	} {
		if got := Nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}
