// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package outage_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// The status page, the metrics and the command check say the same of a cluster, whatever is wrong with it.
func TestViewsAgree(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1, Config: harness.KeepDead()})
	leader := harness.LeaderOf(t, c)
	harness.Must(t, c.WaitSynced(t.Context()))
	followers := harness.Others(c, leader)
	asked, client := followers[0], c.Clients[0]
	e := harness.StartExporter(t, nil, "--consul.server="+asked.URL())
	e.ScrapeUntilUp(t, harness.PlainPorts, c.Servers...)

	t.Run("healthy", func(t *testing.T) {
		expectAgreement(t, e, asked, status.LevelHealthy)
	})
	t.Run("a service is down and a node in maintenance", func(t *testing.T) {
		harness.RegisterInAllStates(t, client.Client().Agent())
		expectAgreement(t, e, asked, status.LevelDegraded, "ConsulServiceDown")
		harness.Must(t, client.Client().Agent().EnableNodeMaintenance("a test"))
		expectAgreement(t, e, asked, status.LevelHealthy)
		harness.Must(t, client.Client().Agent().DisableNodeMaintenance())
		harness.Must(t, client.Client().Agent().ServiceDeregister("db-1"))
	})
	t.Run("a follower hangs", func(t *testing.T) {
		harness.Must(t, followers[1].Stop())
		expectAgreement(t, e, asked, status.LevelDegraded, "ConsulServerHung "+followers[1].Name, "ConsulQuorumAtRisk")
		harness.Must(t, followers[1].Continue())
		expectAgreement(t, e, asked, status.LevelHealthy)
	})
	t.Run("the leader is killed", func(t *testing.T) {
		harness.Must(t, leader.Kill())
		expectAgreement(t, e, asked, status.LevelDegraded, "ConsulServerDown "+leader.Name, "ConsulQuorumAtRisk")
	})
	t.Run("the quorum is lost", func(t *testing.T) {
		harness.Must(t, followers[1].Kill())
		down := []string{"ConsulServerDown " + leader.Name, "ConsulServerDown " + followers[1].Name}
		slices.Sort(down)
		expectAgreement(t, e, asked, status.LevelCritical, append([]string{"ConsulQuorumLost"}, down...)...)
	})
}

func TestViewsAgree_AgentDead(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	harness.LeaderOf(t, c)
	agent := c.Clients[0]
	knows := harness.StartExporter(t, nil, "--consul.server="+agent.URL())
	expectAgreement(t, knows, agent, status.LevelHealthy)
	harness.Must(t, agent.Kill())
	// One that has asked the agent before knows the servers, and goes on asking them; check has no memory.
	expectAgreement(t, knows, nil, status.LevelDegraded, "ConsulAgentUnreachable "+agent.Name)
	knowsNothing := harness.StartExporter(t, nil, "--consul.server="+agent.URL())
	expectAgreement(t, knowsNothing, agent, status.LevelUnknown, "ConsulAgentUnreachable")
}

func TestViewsAgree_SplitBrain(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone})
	harness.Must(t, c.Join(t.Context(), c.Servers[0], c.Servers[1]))
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	expectAgreement(t, e, c.Servers[0], status.LevelCritical, "ConsulSplitBrain")
}

func TestViewsAgree_ACL(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, ACL: true})
	e := harness.StartExporter(t, nil, "--consul.server="+c.Servers[0].URL())
	expectAgreement(t, e, c.Servers[0], status.LevelDegraded, "ConsulCollectorRefused")
}

// expectAgreement waits until the page says this about the cluster, and the metrics of a scrape and the command check after it say the same.
// The problems are alerts, with the server if they are about one; those that a busy machine has as well do not count. Check asks this agent,
// and is not compared without one.
func expectAgreement(t *testing.T, e *harness.Exporter, asked *consultest.Agent, level status.Level, problems ...string) {
	t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; {
		st := e.FreshStatus(t)
		differences := metricsDiffer(&st, e.Scrape(t))
		if asked != nil {
			code, checked := statusOf(t, asked)
			differences = append(differences, checkDiffers(&st, code, &checked)...)
		}
		if got := harness.AlertsOf(st); st.Level != level || len(problems) > 0 && !containsAll(got, problems) {
			differences = append(differences, fmt.Sprintf("the page says %s: %s, %q; want %s and %q", st.Level, st.Verdict, got, level, problems))
		}
		if len(differences) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("they do not agree:\n%s", strings.Join(differences, "\n"))
		}
	}
}

func containsAll(list, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(list, w) })
}

// checkDiffers compares the page with what the command check says and returns.
func checkDiffers(page *status.View, code int, checked *status.View) []string {
	var differences []string
	differ := func(what string, page, check any) {
		if page, check := fmt.Sprint(page), fmt.Sprint(check); page != check {
			differences = append(differences, fmt.Sprintf("%s: the page says %s, check says %s", what, page, check))
		}
	}
	differ("level", page.Level, checked.Level)
	differ("exit code", cli.LevelCodes[page.Level], code)
	// Only who has watched the election knows since when the leader leads.
	since := regexp.MustCompile(` since [^;,]+`)
	differ("verdict", since.ReplaceAllString(page.Verdict, ""), checked.Verdict)
	differ("problems", harness.AlertsOf(*page), harness.AlertsOf(*checked))
	differ("missing", missingOf(page), missingOf(checked))
	return differences
}

func missingOf(st *status.View) []string {
	var what []string
	for _, m := range st.Missing {
		what = append(what, m.What)
	}
	return what
}

// metricsDiffer compares the page with the metrics of a scrape.
func metricsDiffer(st *status.View, s harness.Samples) []string {
	want := harness.Samples{"consul_up": zeroOrOne(*st.Agent.Up)}
	if q := st.Quorum; q != nil {
		want["consul_cluster_voters"] = float64(q.Voters)
		want["consul_cluster_quorum"] = float64(q.Needed)
		want["consul_cluster_reachable_voters"] = float64(q.Reachable)
		want["consul_cluster_failure_margin"] = float64(*q.Margin)
	}
	if l := st.Leadership; l != nil {
		want["consul_cluster_leaders"] = float64(len(l.Leaders))
		want["consul_cluster_reported_leaders"] = float64(len(l.Reported))
		want["consul_cluster_servers_without_leader"] = float64(l.WithoutLeader)
		want["consul_cluster_raft_configurations"] = float64(l.Configurations)
	}
	if r := st.ConsistentRead; r != nil {
		want["consul_cluster_consistent_read_success"] = zeroOrOne(r.OK)
	}
	if a := st.Autopilot; a != nil {
		want["consul_autopilot_cluster_healthy"] = zeroOrOne(a.Healthy)
		want["consul_autopilot_cluster_failure_tolerance"] = float64(a.FailureTolerance)
	}
	if cat := st.Catalog; cat != nil {
		want["consul_catalog_nodes"] = float64(cat.Nodes)
		want["consul_catalog_services"] = float64(cat.Services)
		for _, service := range cat.Failing {
			want[fmt.Sprintf("consul_catalog_service_instances{service_name=%q,status=\"critical\"}", service.Name)] = float64(service.Critical)
		}
	}
	for _, pool := range st.Members {
		for status, n := range pool.ByStatus {
			want[fmt.Sprintf("consul_serf_member_count{pool=%q,status=%q}", pool.Pool, status)] = float64(n)
		}
	}
	maps.Copy(want, serverSamples(st.Servers))
	return differencesOf(want, s)
}

// serverSamples are the metrics that say what the page says of these servers.
func serverSamples(servers []status.ServerStatus) harness.Samples {
	want := make(harness.Samples)
	for _, server := range servers {
		if server.HasLeader != nil {
			want[fmt.Sprintf("consul_server_raft_has_leader{server=%q}", server.Name)] = zeroOrOne(*server.HasLeader)
			want[fmt.Sprintf("consul_server_raft_is_leader{server=%q}", server.Name)] = zeroOrOne(server.RaftState == cluster.RaftLeader)
		}
		for _, p := range server.Ports {
			up := p.Up != nil && *p.Up
			want[fmt.Sprintf("consul_port_up{port=\"%d\",protocol=%q,server=%q,transport=%q}", p.Port, p.Protocol, server.Name, p.Transport)] = zeroOrOne(up)
		}
	}
	return want
}

func zeroOrOne(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// differencesOf says which of these series have another value, or are not there.
func differencesOf(want, got harness.Samples) []string {
	var differences []string
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if value, ok := got[series]; !ok || value != want[series] {
			differences = append(differences, fmt.Sprintf("%s: the page says %v, the metrics say %v (there: %v)", series, want[series], value, ok))
		}
	}
	return differences
}
