// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A peering whose other side is dead stays down when this side's leader restarts, which then calls it pending or
// establishing, and is up again when the other side is back.
func TestPeeringDown(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	server, peer := c.Servers[0], harness.StartPeer(t, c, "dc2").Servers[0]
	e := harness.StartExporter(t, nil, "--consul.server="+server.URL())
	const up = `consul_peering_up{peer="dc2"}`
	e.Await(t, harness.Samples{up: 1})

	must.Do(t, peer.Kill())
	failing := `consul_peering_state{peer="dc2",state="failing"}`
	e.ScrapeUntil(t, time.Minute, "the peering is failing", func(s harness.Samples) bool {
		return s[failing] == 1 && s[up] == 0
	})
	expectPeeringDown(t, e.FreshStatus(t), "is failing")
	if code, out, _ := harness.CheckOf(t, server); code == 0 || !strings.Contains(out, "ConsulPeeringDown") {
		t.Errorf("check has exit code %d and prints:\n%s", code, out)
	}

	must.Do(t, server.Kill())
	must.Do(t, server.Restart(harness.Soon(t)))
	e.ScrapeUntil(t, time.Minute, "the peering is down by what is remembered", func(s harness.Samples) bool {
		p, _, err := server.Client().Peerings().Read(t.Context(), "dc2", nil)
		started := err == nil && p != nil && (p.State == api.PeeringStatePending || p.State == api.PeeringStateEstablishing)
		return started && s[failing] == 0 && s[up] == 0 && len(s.Labels("consul_peering_up", "peer")) == 1
	})
	expectPeeringDown(t, e.FreshStatus(t), "and was active at ")

	must.Do(t, peer.Restart(harness.Soon(t)))
	e.ScrapeUntil(t, 3*time.Minute, "the peering works again", func(s harness.Samples) bool { return s[up] == 1 })
}

func expectPeeringDown(t *testing.T, st status.View, text string) {
	t.Helper()
	for _, p := range st.Problems {
		if p.Alert == "ConsulPeeringDown" && strings.Contains(p.Text, text) && p.Severity == status.Warning {
			return
		}
	}
	t.Errorf("the page has the problems %+v; want ConsulPeeringDown with %q", st.Problems, text)
}
