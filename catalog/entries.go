// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

var endpointNodes = consul.Endpoint{Path: "/v1/catalog/nodes", HasMeta: true, Chosen: true}

// entry is one of Entries.
type entry struct {
	name, address string
	// versioned is whether its meta has versionKey.
	versioned bool
}

// Entries are nodes in the catalog, as far as they decide how the rest is read.
type Entries []entry

// Entries reads all nodes in the catalog that the token may read.
func (r *Reader) Entries(ctx context.Context) (entries Entries, err error) {
	err = r.stream(ctx, endpointNodes, r.Options.NewBudget(), entries.decode)
	return entries, err
}

// decode reads an answer of endpointNodes.
func (entries *Entries) decode(d *consul.JSONReader) error {
	return d.List(func() error {
		e, err := decodeEntry(d)
		if err == nil {
			*entries, err = consul.Keep(d.Memory, *entries, e)
		}
		return err
	})
}

func decodeEntry(d *consul.JSONReader) (e entry, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "Node":
			return d.Text(&e.name)
		case "Address":
			return d.Text(&e.address)
		case "Meta":
			return d.Object(func(key []byte) error {
				e.versioned = e.versioned || string(key) == versionKey
				return d.SkipValue()
			})
		default:
			return d.SkipValue()
		}
	})
	return e, err
}

// names returns the nodes' names.
func (entries Entries) names() []string {
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = entries[i].name
	}
	return names
}
