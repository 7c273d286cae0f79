// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// nodeFields are what is needed of a node in the answer, for the libraries that decode into structs.
type nodeFields struct {
	Node, PeerName string
	Services       []*struct {
		ID, Service string
		Tags        []string
		Meta        map[string]string
	}
	Checks []*struct{ CheckID, Name, Status, ServiceID, ServiceName string }
}

// BenchmarkDecodeCatalog is the decoding of a catalog of 5,000 instances, and as a measure that by other libraries:
// into the structs of consul/api, or into structs with no more than what is needed.
func BenchmarkDecodeCatalog(b *testing.B) {
	answer := consultest.CatalogAnswer(1000, 5000)
	ours := func(r io.Reader) (int, error) {
		c, err := decodeCatalog(r, new(consul.Options).NewBudget())
		if err != nil {
			return 0, err
		}
		return len(c.Nodes), nil
	}
	for _, decoder := range []struct {
		name   string
		answer []byte
		decode func(io.Reader) (nodes int, err error)
	}{
		{"ours/output=1000", consultest.CatalogAnswerWith(1000, 5000, 1000), ours},
		{"ours/output=4000", consultest.CatalogAnswerWith(1000, 5000, 4000), ours},
		{"ours", answer, ours},
		{"go-json-experiment", answer, func(r io.Reader) (int, error) {
			var nodes []nodeFields
			err := jsonv2.UnmarshalRead(r, &nodes, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
			return len(nodes), err
		}},
		{"encoding-json", answer, func(r io.Reader) (int, error) {
			var nodes []nodeFields
			err := json.NewDecoder(r).Decode(&nodes)
			return len(nodes), err
		}},
		{"consul-api", answer, func(r io.Reader) (int, error) {
			var nodes []struct {
				Node, PeerName string
				Services       []*api.AgentService
				Checks         []*api.HealthCheck
			}
			err := json.NewDecoder(r).Decode(&nodes)
			return len(nodes), err
		}},
	} {
		b.Run(decoder.name, func(b *testing.B) {
			b.SetBytes(int64(len(decoder.answer)))
			b.ReportAllocs()
			for b.Loop() {
				if nodes, err := decoder.decode(bytes.NewReader(decoder.answer)); err != nil || nodes != 100 {
					b.Fatalf("%d nodes, error %v", nodes, err)
				}
			}
		})
	}
}
