// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// Only a server that has a port for the WAN pool can be missing from it, and only in a pool of several datacenters.
func TestMissingFromWAN(t *testing.T) {
	t.Parallel()
	server := func(name, id string, port int) cluster.Member {
		return cluster.Member{
			Name: name, ID: id, Role: "consul", Datacenter: "dc1", WANPort: port, Status: cluster.StatusAlive,
		}
	}
	member := func(name, id, dc string, status cluster.MemberStatus) cluster.Member {
		return cluster.Member{Name: name, ID: id, Datacenter: dc, Role: "consul", Status: status}
	}
	const alive, left, failed = cluster.StatusAlive, cluster.StatusLeft, cluster.StatusFailed
	a, b := member("a.dc1", "id-a", "dc1", alive), member("b.dc1", "id-b", "dc1", alive)
	far, gone := member("x.dc2", "id-x", "dc2", alive), member("x.dc2", "id-x", "dc2", left)
	bFailed, bLeft := member("b.dc1", "id-b", "dc1", failed), member("b.dc1", "id-b", "dc1", left)
	dead := server("b", "id-b", 8302)
	dead.Status = failed
	for _, tc := range []struct {
		name  string
		b     cluster.Member
		wan   []cluster.Member
		want  []string
		known bool
	}{
		{"all are there", server("b", "id-b", 8302), []cluster.Member{a, b, far}, nil, true},
		{"one is missing", server("b", "id-b", 8302), []cluster.Member{a, far}, []string{"b"}, true},
		{"one that failed in the pool", server("b", "id-b", 8302), []cluster.Member{a, bFailed, far}, nil, true},
		{"one that left the pool", server("b", "id-b", 8302), []cluster.Member{a, bLeft, far}, []string{"b"}, true},
		{"one that was rebuilt", server("b", "id-new", 8302), []cluster.Member{a, b, far}, []string{"b"}, true},
		{"one without an ID", server("b", "", 8302), []cluster.Member{a, b, far}, nil, true},
		{"serf_wan = -1", server("b", "id-b", 0), []cluster.Member{a, far}, nil, true},
		{"a server that failed", dead, []cluster.Member{a, far}, nil, true},
		{"one datacenter", server("b", "id-b", 8302), []cluster.Member{a}, nil, false},
		{"the other datacenter has left", server("b", "id-b", 8302), []cluster.Member{a, gone}, nil, false},
		{"a client's view", server("b", "id-b", 8302), nil, nil, false},
	} {
		got, known := MissingFromWAN([]cluster.Member{server("a", "id-a", 8302), tc.b}, tc.wan)
		if !slices.Equal(got, tc.want) || known != tc.known {
			t.Errorf("%s: missing %q, known %v; want %q, %v", tc.name, got, known, tc.want, tc.known)
		}
	}
}
