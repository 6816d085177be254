package core

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Catalog is an explicit table from names to plug-ins of one kind. A value, not
// a global: what is registered in one is in no other. It is not safe to register
// while others look up.
type Catalog[T any] struct {
	kind    string
	check   func(T) error
	entries map[string]T
}

// NewCatalog returns a catalogue of entries; kind names them in errors
// ("backend"), and check refuses entries that miss something.
func NewCatalog[T any](kind string, check func(T) error, entries map[string]T) *Catalog[T] {
	return &Catalog[T]{kind: kind, check: check, entries: maps.Clone(entries)}
}

// Register adds an entry under a new name.
func (c *Catalog[T]) Register(name string, entry T) error {
	if name == "" {
		return fmt.Errorf("%w: a %s needs a name", ErrInvalid, c.kind)
	}
	if _, taken := c.entries[name]; taken {
		return fmt.Errorf("%w: there is a %s %q already", ErrInvalid, c.kind, name)
	}
	if err := c.check(entry); err != nil {
		return fmt.Errorf("%w: %s %q: %w", ErrInvalid, c.kind, name, err)
	}
	c.entries[name] = entry
	return nil
}

// Lookup returns the entry called name. An unknown name is an [ErrUnknownName]
// that lists the known ones.
func (c *Catalog[T]) Lookup(name string) (T, error) {
	entry, ok := c.entries[name]
	if !ok {
		return entry, fmt.Errorf("%w: no %s %q; there are %s", ErrUnknownName, c.kind, name, strings.Join(c.Names(), ", "))
	}
	return entry, nil
}

// All goes through the entries in the order of their names.
func (c *Catalog[T]) All() iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, name := range c.Names() {
			if !yield(name, c.entries[name]) {
				return
			}
		}
	}
}

// Names returns all names, sorted.
func (c *Catalog[T]) Names() []string { return slices.Sorted(maps.Keys(c.entries)) }
