// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"fmt"
	"io"
	"slices"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// The catalog is decoded token by token while it arrives, and no more of it is kept than is exported.
// BenchmarkDecodeCatalog compares that with encoding/json, and docs/performance.md with other libraries.

// decodeCatalog reads an answer of endpointDump, without the nodes that another cluster exports to this one.
func decodeCatalog(r io.Reader, memory *consul.Budget) (*Catalog, error) {
	d := catalogDecoder{
		JSONReader: consul.NewJSONReader(r, memory),
		scratch:    make(map[string]instanceHealth),
	}
	catalog := &Catalog{}
	err := d.Whole(func() error {
		node, peer, err := d.node()
		if err == nil && node.Name != "" && peer == "" {
			node.judge(d.scratch, d.sidecars)
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
	scratch map[string]instanceHealth
	// sidecars are those of the node that is being read.
	sidecars []sidecar
	// tags and meta are memory for the lists of the next instances: one allocation serves many.
	tags []string
	meta []Meta
}

func (d *catalogDecoder) node() (n Node, peer string, err error) {
	d.sidecars = d.sidecars[:0]
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "Node":
			return d.SharedText(&n.Name)
		case "PeerName":
			return d.SharedText(&peer)
		case "Services":
			return d.List(func() error {
				in, proxyOf, err := d.instance()
				if in.ID == "" || err != nil {
					return err
				}
				if proxyOf != "" {
					d.sidecars = append(d.sidecars, sidecar{len(n.Instances), proxyOf})
				}
				n.Instances, err = consul.Keep(d.Memory, n.Instances, in)
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

// instance also returns the ID of the instance that it is a sidecar proxy for; empty if it is none.
func (d *catalogDecoder) instance() (in Instance, proxyOf string, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "ID":
			return d.SharedText(&in.ID)
		case "Service":
			return d.SharedText(&in.Service)
		case "Tags":
			d.tags = consul.Slab(d.tags)
			err := d.List(func() (err error) {
				if d.tags, err = consul.Keep(d.Memory, d.tags, ""); err != nil {
					return err
				}
				return d.SharedText(&d.tags[len(d.tags)-1])
			})
			in.Tags = slices.Clip(d.tags)
			return err
		case "Meta":
			d.meta = consul.Slab(d.meta)
			err := d.Object(func(key []byte) error {
				name, err := d.Share(key)
				if err != nil {
					return err
				}
				if d.meta, err = consul.Keep(d.Memory, d.meta, Meta{Key: name}); err != nil {
					return err
				}
				return d.SharedText(&d.meta[len(d.meta)-1].Value)
			})
			in.Meta = slices.Clip(d.meta)
			return err
		case "Proxy":
			return d.Object(func(key []byte) error {
				if string(key) == "DestinationServiceID" {
					return d.SharedText(&proxyOf)
				}
				return d.SkipValue()
			})
		default:
			return d.SkipValue()
		}
	})
	return in, proxyOf, err
}

func (d *catalogDecoder) check() (c Check, err error) {
	err = d.Object(func(key []byte) error {
		switch string(key) {
		case "CheckID":
			return d.SharedText(&c.ID)
		case "Name":
			return d.SharedText(&c.Name)
		case "Status":
			word, err := d.Word()
			c.setStatus(word)
			return err
		case "ServiceID":
			return d.SharedText(&c.ServiceID)
		case "ServiceName":
			return d.SharedText(&c.ServiceName)
		default:
			return d.SkipValue()
		}
	})
	return c, err
}
