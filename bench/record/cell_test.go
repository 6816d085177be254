package record

import (
	"encoding/json"
	"testing"
	"time"
)

// TestOldCell: a cell of an earlier raftlab has knobs of the engine among those of Raft.
// A member that nobody knows is still damage.
func TestOldCell(t *testing.T) {
	var c CellInfo
	old := `{"id":"c01","levels":[],"cluster":{"nodes":3,"engine":"hashicorp","backend":"bolt","transport":"tcp","mode":"inprocess","discovery":"static"},
		"raft":{"heartbeat_timeout":"1s","trailing_logs":7,"log_cache":-1},"options":{"mdb":{"map_size":4096}},"durability":"disk"}`
	if err := json.Unmarshal([]byte(old), &c); err != nil {
		t.Fatal(err)
	}
	own := c.Options["hashicorp"]
	if c.Raft.HeartbeatTimeout != time.Second || own["trailing_logs"] != int64(7) || own["log_cache"] != int64(-1) ||
		c.Options["mdb"]["map_size"] != int64(4096) || c.Durability != "disk" {
		t.Errorf("%+v", c)
	}
	for _, text := range []string{`{"id":"c01","who":1}`, `{"raft":{"heartbeat":"1s"}}`, `{"raft":{"heartbeat_timeout":1}}`} {
		if err := json.Unmarshal([]byte(text), &c); err == nil {
			t.Errorf("%s was read", text)
		}
	}
}
