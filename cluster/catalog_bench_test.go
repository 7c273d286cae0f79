// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	for _, output := range []int{1000, 4000} {
		b.Run(fmt.Sprintf("ours/output=%d", output), func(b *testing.B) {
			answer := consultest.CatalogAnswerWith(1000, 5000, output)
			b.SetBytes(int64(len(answer)))
			b.ReportAllocs()
			for b.Loop() {
				c, err := decodeCatalog(bytes.NewReader(answer), new(consul.Options).NewBudget())
				if err != nil || len(c.Nodes) != 100 {
					b.Fatalf("%+v, error %v", c, err)
				}
			}
		})
	}
	for _, decoder := range []struct {
		name   string
		decode func(io.Reader) (nodes int, err error)
	}{
		{"ours", func(r io.Reader) (int, error) {
			c, err := decodeCatalog(r, new(consul.Options).NewBudget())
			if err != nil {
				return 0, err
			}
			return len(c.Nodes), nil
		}},
		{"go-json-experiment", func(r io.Reader) (int, error) {
			var nodes []nodeFields
			err := jsonv2.UnmarshalRead(r, &nodes, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
			return len(nodes), err
		}},
		{"encoding-json", func(r io.Reader) (int, error) {
			var nodes []nodeFields
			err := json.NewDecoder(r).Decode(&nodes)
			return len(nodes), err
		}},
		{"consul-api", func(r io.Reader) (int, error) {
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
			b.SetBytes(int64(len(answer)))
			b.ReportAllocs()
			for b.Loop() {
				if nodes, err := decoder.decode(bytes.NewReader(answer)); err != nil || nodes != 100 {
					b.Fatalf("%d nodes, error %v", nodes, err)
				}
			}
		})
	}
}
