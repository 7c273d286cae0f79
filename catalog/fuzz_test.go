// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"bytes"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/streamtest"
)

// FuzzCatalogAnswers reads data as each of the answers that tell of a part of the catalog, and as all of them: what
// comes of it has an order and a status, and no service is told of that was not asked for.
func FuzzCatalogAnswers(f *testing.F) {
	for _, seed := range []string{
		`[{"Node":"a","CheckID":"x","Name":"X","Status":"passing","ServiceID":"web-1","ServiceName":"web"},null,
			{"Status":"?","PeerName":"east"}]`,
		`[{"Node":{"Node":"a"},"Service":{"ID":"web-1","Service":"web","Tags":["v1",""],"Meta":{"team":"shop"}},
			"Checks":[{"ServiceID":"web-1"}]},{"Node":null},null,{"Service":null}]`,
		`{"web-1":{"ID":"web-1","Service":"web","Tags":null,"Meta":{"a":"b"}},"x":null,"y":{}}`,
		`{"p":{"ID":"p","Service":"p","Proxy":{"DestinationServiceID":"web-1"}},"web-1":{"ID":"web-1"}}`,
		`{"alive":{"CheckID":"alive","Status":"critical","ServiceID":"web-1"},"disk":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		reader := func() *consul.JSONReader {
			d := consul.NewJSONReader(bytes.NewReader(data), new(consul.Options).NewBudget())
			return &d
		}
		node := partialNode{Node: Node{Name: "a"}}
		_, _ = node.decodeServices(reader()), node.decodeChecks(reader()) // Parts of an answer are read, too.
		node.judge(make(map[string]instanceHealth), node.sidecars)
		expectStatuses(t, node.Node)
		nodes := nodesByName{"a": {Node: Node{Name: "a"}}}
		_ = nodes.decodeChecks(reader())
		entries, _ := decodeEntries(reader(), "web")
		nodes.place(entries)
		for _, n := range nodes.catalog().Nodes {
			expectStatuses(t, n)
			for _, in := range n.Instances {
				if in.Service != "web" {
					t.Errorf("%+v was not asked for", in)
				}
			}
		}
	})
}

// expectStatuses fails if an instance is better than one of its checks.
func expectStatuses(t *testing.T, n Node) {
	t.Helper()
	for _, in := range n.Instances {
		for _, c := range n.Checks {
			if (c.ServiceID == "" || c.ServiceID == in.ID) && in.Status < c.health() {
				t.Errorf("%+v is better than its check %+v", in, c)
			}
		}
	}
}

func FuzzStreams(f *testing.F) { streamtest.Fuzz(f, streamDecoders) }
