// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// TestGone has a follower killed, and hung, for longer than Consul knows of it: with Consul's defaults autopilot removes
// it, in clusters of three and of five. All views go on to name it, also after the exporter was started anew, until it
// is back.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, servers := range []int{3, 5} {
		t.Run(fmt.Sprintf("of %d", servers), func(t *testing.T) {
			t.Parallel()
			c := consultest.Start(t, consultest.Options{Servers: servers, Config: asShipped(nil)})
			playAll(t, c, goneScenes, (*play).look)
		})
	}
}

var goneScenes = []scene{
	{name: "a follower is killed", breaks: func(p *play) { p.kill(p.gone()) }, then: (*play).expectKilled},
	{name: "a follower hangs", breaks: func(p *play) { p.stop(p.gone()) }, then: (*play).expectHung},
}

// gone is the server that is killed or hangs.
func (p *play) gone() *consultest.Agent { return p.followers[1] }

func (p *play) expectKilled() { p.expectGone("ConsulServerDown") }
func (p *play) expectHung()   { p.expectGone("ConsulServerHung") }

// expectGone waits until autopilot has removed the server, and expects all views to name it: those of an exporter, of
// one that starts with another's state file, and those of the check command with the memory of either. At the end the
// server is back, and no view has a problem.
func (p *play) expectGone(alert string) {
	p.Helper()
	state := "--state.file=" + filepath.Join(p.TempDir(), "state.json")
	before := p.export(p.agent, state)
	before.Scrape(p.T)
	harness.WaitFor(p.T, 2*time.Minute, "autopilot to remove "+p.gone().Name, func() string {
		voters := harness.Voters(p.T, p.leader)
		return harness.Unless(!slices.Contains(voters, p.gone().Name), "the voters are %v", voters)
	})
	p.expectNamed(p.e, alert)
	must.Do(p.T, before.Stop())
	after := p.export(p.agent, state)
	p.expectNamed(after, alert)
	p.restore()
	harness.Settle(p.T, p.c)
	for _, e := range []*harness.Exporter{p.e, after} {
		harness.WaitFor(p.T, 2*time.Minute, "no view to have a problem", func() string {
			problems := harness.AlertsOf(e.FreshStatus(p.T))
			return strings.Join(problems, ", ")
		})
	}
}

// expectNamed expects the views of an exporter, and the check command with its memory, to name the server with this
// alert.
func (p *play) expectNamed(e *harness.Exporter, alert string) {
	p.Helper()
	name := p.gone().Name
	e.Scrape(p.T).Expect(p.T, harness.Samples{harness.PortSeries("up", p.gone()): 0})
	want := alert + " " + name
	if problems := harness.AlertsOf(e.FreshStatus(p.T)); !slices.Contains(problems, want) {
		p.Errorf("the problems are %v; want %s", problems, want)
	}
	if page := e.Page(p.T, "/", http.StatusOK); !strings.Contains(page, name) || !strings.Contains(page, alert) {
		p.Errorf("the page does not name %s and %s", name, alert)
	}
	_, text := p.check("--exporter=" + e.URL)
	_, asJSON := p.check("--exporter="+e.URL, "--output=json")
	if problems := harness.AlertsOf(p.viewOf(asJSON)); !strings.Contains(text, name) || !slices.Contains(problems, want) {
		p.Errorf("check has the problems %v; want %s; it says:\n%s", problems, want, text)
	}
}
