// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// exporterImpaired is what this program could not do for reasons of its own. It is one problem, however much that is: nothing of it is Consul's.
func exporterImpaired(e *evidence, report report) {
	var clauses []string
	ports, portErr := 0, error(nil)
	for i := range e.Ports {
		if res := &e.Ports[i].Result; res.Reason == probe.ReasonOwnFault {
			ports, portErr = ports+1, res.Err
		}
	}
	if ports > 0 {
		clauses = append(clauses, fmt.Sprintf("could not probe %s (%v)", wording.Plural(ports, "port", "ports"), portErr))
	}
	var reason string
	unread := e.missingThat(func(m *Missing) bool {
		if !m.Own || m.What == "ports" {
			return false
		}
		reason = m.Reason
		return true
	})
	if len(unread) > 0 {
		clauses = append(clauses, fmt.Sprintf("could not query: %s (%s)", wording.List(unread, maxNamed), reason))
	}
	if len(e.FailingFiles) > 0 {
		clauses = append(clauses, "could not reload files and still uses their last good content: "+strings.Join(e.FailingFiles, "; "))
	}
	if len(clauses) > 0 {
		report(wholeCluster, "The exporter itself has a problem. It %s.", strings.Join(clauses, "; it "))
	}
}
