// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/streamtest"
)

// streamDecoders decode the answers that are read while they arrive, by what their elements are.
func streamDecoders() map[string]streamtest.Decoder {
	return map[string]streamtest.Decoder{
		"members":  streamtest.New(`[`, `{"Name":"n"}`, "]", streamtest.Streamed(decodeList(new([]Member), newMember))),
		"peerings": streamtest.New(`[`, `{"Name":"n"}`, "]", streamtest.Streamed(decodeList(new([]Peering), newPeering))),
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	streamtest.ExpectBudget(t, streamDecoders())
}

func TestTooManyServers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		n, known int
		want     string // Of the error.
	}{
		{maxServers, maxServers, "<nil>"},
		{maxServers + 1, 0, "the agent names 1001 servers: more than 1000 are not believed, and none of them is asked"},
	} {
		c := newTestCluster(t, Options{}, map[string]http.HandlerFunc{
			endpointMembers.Path: answer(200, list(servers(tc.n, StatusAlive)...)),
			endpointRaft.Path:    answer(200, `{"Servers":[]}`),
		})
		topology, err := scrape(t, c, (*Snapshot).Topology)
		if known := len(topology.Servers); known != tc.known || fmt.Sprint(err) != tc.want {
			t.Errorf("%d servers, error %v; want %d, and %s", known, err, tc.known, tc.want)
		}
		if kept := len(c.known.topology().Servers); kept != tc.known {
			t.Errorf("%d servers are kept; want %d", kept, tc.known)
		}
	}
}
