// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// outOfSight reports whether a voter is silent only here: there is proof of voters that this exporter does not see, and
// nothing says that this one has failed. exporterBlind is about it then. The rules have the same as
// consul:server_out_of_sight:max.
func (e *evidence) outOfSight(s *verdict.Server) bool {
	return e.Quorum.State == verdict.QuorumHeld && e.Voters[s.Server.Name] == verdict.VoterUnknown && !s.RPC.Up &&
		s.Server.Status != cluster.StatusFailed
}

// inSight finds a problem of ports that says that a server is broken.
func inSight(find func(*evidence, verdict.Port) string) func(*evidence, verdict.Port) string {
	return func(e *evidence, p verdict.Port) string {
		i := slices.IndexFunc(e.servers, func(s *verdict.Server) bool { return s.Server.Name == p.Server })
		if i >= 0 && e.outOfSight(e.servers[i]) {
			return ""
		}
		return find(e, p)
	}
}
