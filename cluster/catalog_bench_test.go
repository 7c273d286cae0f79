// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// BenchmarkDecodeCatalog is the decoding of a catalog of 5,000 instances, and as a measure that by encoding/json into the structs of
// consul/api that have the same fields.
func BenchmarkDecodeCatalog(b *testing.B) {
	answer := consultest.CatalogAnswer(1000, 5000)
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(answer)))
		b.ReportAllocs()
		for b.Loop() {
			if c, err := decodeCatalog(bytes.NewReader(answer)); err != nil || len(c.Nodes) != 100 {
				b.Fatalf("%+v, error %v", c, err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(answer)))
		b.ReportAllocs()
		for b.Loop() {
			var nodes []struct {
				Node, PeerName string
				Services       []*api.AgentService
				Checks         []*api.HealthCheck
			}
			if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&nodes); err != nil || len(nodes) != 100 {
				b.Fatalf("%d nodes, error %v", len(nodes), err)
			}
		}
	})
}
