// Package tcp is a network of TCP connections, made with the standard library.
// It moves bytes and nothing else: the engine puts its framing on top, and the
// connections are neither encrypted nor authenticated, so it belongs on a
// network that is trusted.
package tcp
