// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A scene is something that happens to a cluster. It is played once and looked at through all views. It begins with a
// calm cluster and is repaired at its end, so it is the same whether other scenes are played before it or not.
type scene struct {
	name string
	// through returns the agent that the exporter and the check command query; nil means a follower.
	through func(p *play) *consultest.Agent
	// policy has the rules of the token that both have; empty means no token. flags are the exporter's.
	policy string
	flags  []string
	// split means that each server leads a cluster of its own, so that there is nothing to wait for.
	split bool
	// breaks is what happens after the exporter has scraped once; nil means nothing.
	breaks func(p *play)
	// fleeting scenes end by themselves. If the views were too late, it happens again.
	fleeting bool
	// first gets the first scrape after that.
	first func(p *play, s harness.Samples)
	// want is what all views show; nil means that they are not compared.
	want func(p *play) outlook
	// remembered means that only the exporter shows this: the check command has no memory.
	remembered bool
	// then looks at everything else.
	then func(p *play)
	// repair undoes what breaks did to anything but the agents' processes.
	repair func(p *play)
	// window is the title of the status page in a browser, and page are texts on it in this order.
	window string
	page   []string
}

// A play is a scene that is being played.
type play struct {
	*testing.T
	scene

	c *consultest.Cluster
	// leader and followers are those at the beginning.
	leader    *consultest.Agent
	followers []*consultest.Agent
	// agent is the one that the exporter e and the check command query. args are the other arguments of the command.
	agent *consultest.Agent
	e     *harness.Exporter
	args  []string
	// second is another exporter, of a scene that has one.
	second *harness.Exporter
	// took is how long the latest scrape took.
	took time.Duration
	// marks are the ends of the agents' logs, first before the exporter started.
	marks map[*consultest.Agent]int
}

// playAll plays scenes on a cluster, one after the other.
func playAll(t *testing.T, c *consultest.Cluster, scenes []scene, perform func(p *play)) {
	t.Helper()
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) {
			p := &play{T: t, scene: sc, c: c}
			p.begin()
			defer p.restore() // After a failure too, for the next scene.
			perform(p)
		})
	}
}

// begin waits until the cluster is calm and starts the exporter.
func (p *play) begin() {
	p.calm()
	if p.through == nil {
		p.through = func(p *play) *consultest.Agent { return p.followers[0] }
	}
	p.agent = p.through(p)
	if p.policy != "" {
		p.args = []string{"--consul.token-file=" + harness.Secret(p.T, p.token(p.policy))}
	}
	p.mark()
	p.e = p.export(p.agent, append(p.args, p.flags...)...)
}

// calm waits until everything is well.
func (p *play) calm() {
	if p.split {
		return
	}
	harness.Settle(p.T, p.c)
	p.leader = harness.LeaderOf(p.T, p.c)
	p.followers = harness.Others(p.c, p.leader)
}

// token makes a token with these rules.
func (p *play) token(policy string) string {
	token := must.Get(p.c.NewToken(p.Context(), policy))(p.T)
	return token
}

// mark notes the ends of the agents' logs.
func (p *play) mark() {
	p.marks = make(map[*consultest.Agent]int)
	for _, a := range p.c.Agents() {
		p.marks[a] = a.LogMark()
	}
}

// export starts an exporter.
func (p *play) export(a *consultest.Agent, flags ...string) *harness.Exporter {
	p.Helper()
	return harness.StartExporter(p.T, nil, append([]string{serverFlag(a)}, flags...)...)
}

// look plays the scene and looks at it through all views, and once more after the repair.
func (p *play) look() {
	s := p.scrape()
	if p.breaks != nil {
		p.breakNow()
		if !p.fleeting {
			s = p.scrape()
		}
	}
	if p.first != nil {
		p.first(p, s)
	}
	if p.want != nil {
		p.see()
	}
	if p.then != nil {
		p.then(p)
	}
	if p.breaks != nil && p.want != nil {
		p.restore()
		p.expect(p.e, true, healthy(p))
	}
}

// scrape notes how long it takes.
func (p *play) scrape() harness.Samples {
	start := time.Now()
	defer func() { p.took = time.Since(start) }()
	return p.e.Scrape(p.T)
}

// see waits until all views show what the scene wants.
func (p *play) see() {
	if !p.fleeting {
		p.expect(p.e, !p.remembered, p.want(p))
		return
	}
	for range 5 {
		differences := p.differences(p.e, true, p.want(p))
		if differences == "" {
			return
		}
		p.Logf("once more, because the views differ:\n%s", differences)
		p.restore()
		p.calm()
		if p.leader == p.agent {
			must.Do(p.T, p.c.TransferLeadership(harness.Soon(p.T), p.followers[0]))
			p.calm()
		}
		p.breakNow()
	}
	p.Fatal("the views were too late each time")
}

// breakNow breaks the cluster. In a fleeting scene the page is then due for a new status, so that it shows this at
// once.
func (p *play) breakNow() {
	if p.fleeting {
		last := p.e.FreshStatus(p.T).Time
		harness.WaitFor(p.T, 2*harness.PageEvery, "the page to be due", func() string {
			return harness.Unless(time.Since(last) > harness.PageEvery, "its status is of %s", last)
		})
	}
	p.breaks(p)
}

// restore restarts the agents that were killed, lets those go on that were stopped, and undoes the rest.
func (p *play) restore() {
	for _, a := range p.c.Agents() {
		if a.Running() {
			must.Do(p.T, a.Continue())
		} else {
			must.Do(p.T, a.Restart(harness.Soon(p.T)))
		}
	}
	if p.repair != nil {
		p.repair(p)
	}
}

func (p *play) stop(agents ...*consultest.Agent) { p.each((*consultest.Agent).Stop, agents) }
func (p *play) kill(agents ...*consultest.Agent) { p.each((*consultest.Agent).Kill, agents) }

func (p *play) each(do func(*consultest.Agent) error, agents []*consultest.Agent) {
	for _, a := range agents {
		must.Do(p.T, do(a))
	}
}

// others are the servers that are not queried over HTTP, by name.
func (p *play) others() []*consultest.Agent { return harness.Others(p.c, p.agent) }

// aClient is for scenes that query one.
func aClient(p *play) *consultest.Agent { return p.c.Clients[0] }

// expectQuiet fails if agents logged anything because of the exporter since the marks.
func (p *play) expectQuiet(agents ...*consultest.Agent) {
	p.Helper()
	for _, a := range agents {
		harness.ExpectQuiet(p.T, a, p.marks[a])
	}
}

// expectUnnoticed fails if the agent complained since the marks about a request whose path begins like this.
func (p *play) expectUnnoticed(a *consultest.Agent, path string) {
	p.Helper()
	for _, line := range consultest.AtLeast(a.LogsSince(p.marks[a]), "WARN") {
		if strings.Contains(line.Raw, path) {
			p.Errorf("%s complains about a request: %s", a, line.Raw)
		}
	}
}

// expectOneWait fails if the latest scrape waited twice for something that hangs.
func (p *play) expectOneWait() {
	p.Helper()
	if p.took > 2*harness.ProbeTimeout {
		p.Errorf("a scrape took %s; want less than two of the probe's timeouts", p.took)
	}
}
