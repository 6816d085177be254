package hostport

import (
	"strings"
	"testing"
)

func TestCheckDial(t *testing.T) {
	for address, want := range map[string]string{
		"localhost:11000": "", "127.0.0.1:1": "", "[::1]:65535": "", "db1.example.org:80": "",
		"": "want host:port", "h": "want host:port", "http://h:2": "want host:port", "a b:1": "want host:port", "a@b:1": "want host:port",
		"h:0": "want a port", "h:": "want a port", "h:65536": "want a port", "h:+1": "want a port", "h:01": "want a port", "h:x": "want a port",
		":3": "as in 127.0.0.1:3", "[::]:4": "as in 127.0.0.1:4", "0.0.0.0:5": "as in 127.0.0.1:5",
	} {
		err := CheckDial(address)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
}

func TestSplit(t *testing.T) {
	for address, want := range map[string]struct {
		host string
		port uint16
	}{
		":0": {"", 0}, "localhost:0": {"localhost", 0}, "[::]:80": {"::", 80}, "0.0.0.0:65535": {"0.0.0.0", 65535},
	} {
		host, port, err := Split(address)
		if err != nil || host != want.host || port != want.port {
			t.Errorf("%q: %q %d %v", address, host, port, err)
		}
	}
}
