// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import "strings"

// SharedText decodes a text that may come again and again, as names, IDs and tags do: it is kept once.
func (d *JSONReader) SharedText(into *string) error {
	b, err := d.Word()
	if err == nil {
		*into, err = d.Share(b)
	}
	return err
}

// textBytes is about what a text costs besides its letters.
const textBytes = 48

// Share returns a text that is kept once for all that are the same.
func (d *JSONReader) Share(b []byte) (string, error) {
	before := len(d.texts.known)
	s := d.texts.keep(b)
	if len(d.texts.known) == before {
		return s, nil
	}
	return s, d.Memory.Spend(textBytes)
}

// texts keeps each text once. Its zero value is ready for use.
type texts struct {
	known map[string]string
	// memory is the text of many, one after the other.
	memory *strings.Builder
}

// textMemory is how much text shares one allocation.
const textMemory = 32 << 10

func (t *texts) keep(b []byte) string {
	if s, ok := t.known[string(b)]; ok { // Does not allocate.
		return s
	}
	if t.known == nil {
		t.known = make(map[string]string)
	}
	if t.memory == nil || t.memory.Cap()-t.memory.Len() < len(b) {
		t.memory = &strings.Builder{}
		t.memory.Grow(max(textMemory, len(b)))
	}
	start := t.memory.Len()
	t.memory.Write(b)
	s := t.memory.String()[start:]
	t.known[s] = s
	return s
}

// Slab returns what is free of the memory for lists, or new memory when that is little: one allocation serves many.
func Slab[T any](used []T) []T {
	const size, little = 1024, 16
	if cap(used)-len(used) < little {
		return make([]T, 0, size)
	}
	return used[len(used):]
}
