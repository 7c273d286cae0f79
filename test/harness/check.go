// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
)

// CheckOf runs the command check against an agent, in this process, with probes that do not wait long.
func CheckOf(t *testing.T, a *consultest.Agent, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"check", "--consul.server=" + a.URL(), "--probe.timeout=500ms"}, args...)
	code = cli.Run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// AlertsOf returns the names of the alerts of the problems, with the server.
func AlertsOf(st status.View) []string {
	var names []string
	for _, p := range st.Problems {
		names = append(names, strings.TrimSpace(p.Alert+" "+p.Server))
	}
	return names
}
