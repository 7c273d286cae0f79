// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

func serverWANMissing(e *evidence, s *verdict.Server) string {
	since, missing := e.WANMissing[s.Server.Name]
	lasts := e.Start.Sub(since)
	return wording.If(missing && lasts > verdict.WANGrace,
		"%s has a WAN port and has been missing from the WAN pool for %s: other datacenters cannot reach it.",
		s.Server.Name, wording.Rounded(lasts))
}
