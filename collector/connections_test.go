// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

func TestCountConnections(t *testing.T) {
	t.Parallel()
	mine, other, wildcard := net.ParseIP("10.0.0.1"), net.ParseIP("10.0.0.2"), net.IPv6zero
	port := cluster.BoundPort{
		Port: cluster.Port{Address: "localhost:8500"}, Addrs: []string{"10.0.0.1", "fd00::1", "unix:///socket"},
	}
	for _, tc := range []struct {
		name    string
		sockets []socket
		want    map[string]float64 // nil: nothing listens.
	}{
		{"no sockets", nil, nil},
		{"another port", []socket{{mine, 8501, socketListens}, {mine, 8500, 1}}, nil},
		{"another address", []socket{{other, 8500, socketListens}, {other, 8500, 1}}, nil},
		{"no connections", []socket{{mine, 8500, socketListens}}, map[string]float64{}},
		{"connections", []socket{
			{mine, 8500, socketListens},
			{mine, 8500, 1},
			{mine, 8500, 1},
			{mine, 8500, 8},
			{mine, 8500, 12},
			{other, 8500, 1},
			{mine, 8501, 1},
		}, map[string]float64{"established": 2, "close_wait": 1, "syn_recv": 1}},
		{
			"any address, IPv4 in IPv6",
			[]socket{{wildcard, 8500, socketListens}, {mine.To16(), 8500, 1}, {other, 8500, 6}},
			map[string]float64{"established": 1, "time_wait": 1},
		},
	} {
		got, found := countConnections(port, tc.sockets)
		if diff := cmp.Diff(tc.want, got); diff != "" || found != (tc.want != nil) {
			t.Errorf("%s: found %v; counts differ (-want +got):\n%s", tc.name, found, diff)
		}
	}
}
