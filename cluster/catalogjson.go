// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// The catalog is decoded while it arrives, token by token, into no more than what is exported. BenchmarkDecodeCatalog
// compares that with encoding/json, and docs/performance.md with other libraries.

// decodeCatalog reads the answer of endpointCatalog: a list of nodes. Those that another cluster exports to this one
// are left out.
func decodeCatalog(r io.Reader, memory *consul.Budget) (*Catalog, error) {
	d := catalogDecoder{
		JSONReader: consul.NewJSONReader(r, memory),
		texts:      texts{known: make(map[string]string)},
		scratch:    make(map[string]HealthStatus),
	}
	catalog := &Catalog{}
	err := d.Whole(func() error {
		node, peer, err := d.node()
		if err == nil && node.Name != "" && peer == "" {
			node.judge(d.scratch)
			catalog.Nodes, err = consul.Keep(memory, catalog.Nodes, node)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decode the catalog: %w", err)
	}
	return catalog, nil
}

// catalogDecoder decodes field by field.
type catalogDecoder struct {
	consul.JSONReader
	texts   texts
	scratch map[string]HealthStatus
	// tags and meta are memory for the lists of the next instances: one allocation serves many.
	tags []string
	meta []Meta
}

func (d *catalogDecoder) node() (n CatalogNode, peer string, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "Node":
			return d.text(&n.Name)
		case "PeerName":
			return d.text(&peer)
		case "Services":
			return d.List(func() error {
				in, err := d.instance()
				if in.ID != "" && err == nil {
					n.Instances, err = consul.Keep(d.Memory, n.Instances, in)
				}
				return err
			})
		case "Checks":
			if n.Checks == nil { // Mostly there is one for each instance, and one for the node.
				n.Checks = make([]Check, 0, len(n.Instances)+1)
			}
			return d.List(func() error {
				c, err := d.check()
				if c.ID != "" && err == nil {
					n.Checks, err = consul.Keep(d.Memory, n.Checks, c)
				}
				return err
			})
		default:
			return d.SkipValue()
		}
	})
	return n, peer, err
}

func (d *catalogDecoder) instance() (in Instance, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "ID":
			return d.text(&in.ID)
		case "Service":
			return d.text(&in.Service)
		case "Tags":
			d.tags = slab(d.tags)
			err := d.List(func() (err error) {
				if d.tags, err = consul.Keep(d.Memory, d.tags, ""); err != nil {
					return err
				}
				return d.text(&d.tags[len(d.tags)-1])
			})
			in.Tags = slices.Clip(d.tags)
			return err
		case "Meta":
			d.meta = slab(d.meta)
			err := d.Object(func(key []byte) error {
				name, err := d.kept(key)
				if err != nil {
					return err
				}
				if d.meta, err = consul.Keep(d.Memory, d.meta, Meta{Key: name}); err != nil {
					return err
				}
				return d.text(&d.meta[len(d.meta)-1].Value)
			})
			in.Meta = slices.Clip(d.meta)
			return err
		default:
			return d.SkipValue()
		}
	})
	return in, err
}

func (d *catalogDecoder) check() (c Check, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "CheckID":
			return d.text(&c.ID)
		case "Name":
			return d.text(&c.Name)
		case "Status":
			word, err := d.Word()
			c.Status = newHealthStatus(word)
			return err
		case "ServiceID":
			return d.text(&c.ServiceID)
		case "ServiceName":
			return d.text(&c.ServiceName)
		default:
			return d.SkipValue()
		}
	})
	return c, err
}

// text decodes a text.
func (d *catalogDecoder) text(into *string) error {
	b, err := d.Word()
	if err == nil {
		*into, err = d.kept(b)
	}
	return err
}

// textBytes is about what a text costs besides its letters.
const textBytes = 48

func (d *catalogDecoder) kept(b []byte) (string, error) {
	before := len(d.texts.known)
	s := d.texts.keep(b)
	if len(d.texts.known) == before {
		return s, nil
	}
	return s, d.Memory.Spend(textBytes)
}

// slab returns what is free of the memory for lists, or new memory when that is little.
func slab[T any](used []T) []T {
	const size, little = 1024, 16
	if cap(used)-len(used) < little {
		return make([]T, 0, size)
	}
	return used[len(used):]
}

// texts keeps each text once: names, IDs, tags come again and again.
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
