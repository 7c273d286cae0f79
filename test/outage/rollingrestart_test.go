// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestCheck_FiveServers(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{
		Servers: 5, Config: asShipped(nil), Deviations: []consultest.Deviation{
			consultest.KeepDead.Because(
				"five voters, one of which is dead, are what is asked about; autopilot would make it four"),
		},
	})
	playAll(t, c, []scene{
		{name: "one is dead", breaks: func(p *play) { p.kill(p.followers[1]) }, then: func(p *play) {
			name := p.followers[2].Name
			p.expectStop(name, cli.ExitSafe,
				"Without "+name+" 3 of 5 voters can be counted on, and the quorum is 3: no further failure can be tolerated.")
		}},
		{
			name: "rolling restart", flags: []string{"--probe.timeout=500ms", "--probe.protocols=rpc"},
			then: (*play).rollingRestart,
		},
		{
			name: "no vote",
			breaks: func(p *play) { // It comes back after it has left, and would get its vote 10 s later.
				p.stabilizeFor(time.Hour)
				must.Do(p.T, p.followers[1].Leave(p.Context()))
				must.Do(p.T, p.followers[1].Restart(p.Context()))
			},
			then: func(p *play) {
				p.expectStop(p.followers[1].Name, cli.ExitSafe, p.followers[1].Name+" has no vote yet.")
			},
			repair: func(p *play) { p.stabilizeFor(10 * time.Second) },
		},
	}, (*play).look)
}

// stabilizeFor sets how long a server must be well before autopilot gives it a vote.
func (p *play) stabilizeFor(d time.Duration) {
	p.Helper()
	operator := p.leader.Client().Operator()
	config := must.Get(operator.AutopilotGetConfiguration(nil))(p.T)
	config.ServerStabilizationTime = api.NewReadableDuration(d)
	must.Do(p.T, operator.AutopilotSetConfiguration(config, nil))
}

// rollingRestart runs the script of docs/check.md, with hosts that take some seconds to boot, and watches meanwhile
// that the quorum is kept.
func (p *play) rollingRestart() {
	dir := p.TempDir()
	program := fmt.Sprintf("#!/bin/sh\nexec env %s=1 %q \"$@\"\n", harness.AsExporter, os.Args[0])
	must.Do(p.T, os.WriteFile(filepath.Join(dir, cli.Name), []byte(program), 0o755))
	p.e.Await(p.T, harness.Samples{"consul_cluster_failure_margin": 2})
	ctx, end := context.WithCancel(p.Context())
	defer end()
	restarted, seen := p.rebootHosts(ctx, dir), p.watchMargin(ctx)

	servers := []string{"server-1", "server-2", "server-3", "server-4", "server-5"}
	cmd := exec.CommandContext(p.Context(), "/bin/sh", append([]string{"-s"}, servers...)...)
	cmd.Stdin = strings.NewReader(docsScript(p.T, "rolling-restart"))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CONSUL_HTTP_ADDR="+p.c.Servers[1].URL(),
		"CONSUL_CLUSTER_EXPORTER_PROBE_TIMEOUT=500ms")
	out, err := cmd.CombinedOutput()
	end()
	margins, names := <-seen, slices.Sorted(maps.Keys(<-restarted))
	p.Logf("the script printed\n%s\nmargins and how often they were seen: %v", out, margins)
	must.Do(p.T, err)
	if !slices.Equal(names, servers) {
		p.Errorf("restarted are %q; want all five", names)
	}
	if !strings.Contains(string(out), "waiting: ") {
		p.Error("the script never waited")
	}
	total := 0
	for margin, n := range margins {
		total += n
		if margin < 0 && !math.IsInf(margin, -1) {
			p.Errorf("the margin was %v in %d scrapes; want never below 0", margin, n)
		}
	}
	if total < 20 || margins[2] == total || margins[1] == 0 {
		p.Errorf("margins were %v; want some dozens, and some without one server", margins)
	}
}

// watchMargin scrapes every 200 ms until ctx is done, and then sends how often it has seen which margin. That of a
// scrape without one is below all others.
func (p *play) watchMargin(ctx context.Context) <-chan map[float64]int {
	result := make(chan map[float64]int, 1)
	go func() {
		seen := make(map[float64]int)
		for ; ctx.Err() == nil; <-time.After(200 * time.Millisecond) {
			const path = "/metrics?collect[]=raft&collect[]=ports&collect[]=autopilot"
			_, body, _ := p.e.Get(context.WithoutCancel(ctx), path, 10*time.Second)
			s, err := harness.ReadSamples(body)
			margin, known := s["consul_cluster_failure_margin"]
			if !known {
				margin = math.Inf(-1)
				if n := s[`consul_cluster_voters_state{state="unknown"}`]; err != nil || n < 1 || n != p.undecided(s) {
					p.Errorf("the margin is unknown, and so are %v voters of %v: %v\n%s", n, p.undecided(s), err, body)
				}
			}
			seen[margin]++
		}
		result <- seen
	}()
	return result
}

// undecided is how many voters do not answer, and there is a reason not to believe that they are lost: the leader's
// autopilot calls them healthy, as it does for some seconds after they have died, or they died during the probe.
func (p *play) undecided(s harness.Samples) (n float64) {
	for _, a := range p.c.Servers {
		_, answers := s[harness.ServerSeries("has_leader", a)]
		healthy := s["consul_cluster_leaders"] == 1 && s[autopilotSeries("healthy", a)] == 1
		turnedAway := sumOf(s, "consul_port_turned_away{", fmt.Sprintf("server=%q,", a.Name)) > 0
		if !answers && (healthy || turnedAway) {
			n++
		}
	}
	return n
}

// rebootHosts puts a command ssh into the folder that reboots the server's host, whatever its command is: the
// server is killed, and starts some seconds later. When ctx is done and all are back, the channel has the servers
// that were restarted.
func (p *play) rebootHosts(ctx context.Context, dir string) <-chan map[string]bool {
	ssh := fmt.Sprintf("#!/bin/sh\nset -eu\ncd %q\ntouch \"$1\"\nwhile test -e \"$1\"; do sleep 0.1; done\n", dir)
	must.Do(p.T, os.WriteFile(filepath.Join(dir, "ssh"), []byte(ssh), 0o755))
	restarted := make(chan map[string]bool, 1)
	go func() {
		names := make(map[string]bool)
		var booting sync.WaitGroup
		for ; ctx.Err() == nil; <-time.After(100 * time.Millisecond) {
			for _, a := range p.c.Servers {
				request := filepath.Join(dir, a.Name)
				if _, err := os.Stat(request); err != nil {
					continue
				}
				names[a.Name] = true
				if err := errors.Join(a.Kill(), os.Remove(request)); err != nil {
					p.Error(err)
				}
				booting.Go(func() {
					<-time.After(4 * time.Second)
					if err := a.Restart(context.WithoutCancel(ctx)); err != nil {
						p.Error(err)
					}
				})
			}
		}
		booting.Wait()
		restarted <- names
	}()
	return restarted
}

// docsScript returns the script of docs/check.md that has the name in its first comment.
func docsScript(t *testing.T, name string) string {
	t.Helper()
	content := must.Get(os.ReadFile("docs/check.md"))(t)
	m := regexp.MustCompile("(?s)```sh\n(#!/bin/sh\n# " + name + " .*?)```").FindSubmatch(content)
	if m == nil {
		t.Fatalf("docs/check.md has no script %s", name)
	}
	return string(m[1])
}
