package clustertest

import (
	"net"
	"runtime"
	"testing"
)

func TestHost(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("one loopback address for all")
	}
	seen := map[string]bool{}
	for range 50 {
		host, release, err := Host()
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if seen[host] || !net.ParseIP(host).IsLoopback() {
			t.Errorf("%s, after %v", host, seen)
		}
		seen[host] = true
	}
}
