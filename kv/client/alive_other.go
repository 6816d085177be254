//go:build !unix

package client

import "net"

// alive cannot be told here; a request that meets a dead connection fails, or goes out again.
func alive(net.Conn) bool { return true }
