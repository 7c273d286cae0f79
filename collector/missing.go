// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strconv"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// missingServers adds the servers that were known and that Consul no longer names, and how many voters are lacking.
func missingServers(define *definitions) func(cluster.Topology, memory.Shortage, *families) {
	since := define.gauge("consul_server_missing_since_timestamp_seconds",
		"Since when Consul has not listed a known server. How is left (in order), removed (after it failed), or "+
			"gone (not seen). Voter is whether it had a vote.", "server", "id", "how", "voter")
	expected := define.gauge("consul_cluster_expected_voters",
		"--cluster.expected-voters, or the most voters that the cluster had for an hour with the quorum held; at "+
			"first bootstrap_expect. Absent while unknown.")
	missing := define.gauge("consul_cluster_missing_voters", "Expected voters that are missing. Absent while unknown.")
	return func(t cluster.Topology, voters memory.Shortage, out *families) {
		for _, s := range t.MissingServers() {
			out.instant(since, s.Absence.Since, s.Name, s.ID, string(s.Absence.How),
				strconv.FormatBool(s.Absence.Voter))
		}
		if voters.Expected > 0 {
			out.add(expected, float64(voters.Expected))
			out.add(missing, float64(voters.Missing))
		}
	}
}
