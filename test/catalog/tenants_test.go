// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A cluster is not ill because its services are: with 4 % of a hundred instances critical, the page, its JSON and check
// call Consul healthy and the services degraded. With a service of which nothing is left, the services are critical,
// and Consul is healthy still. A sidecar follows its service into maintenance, and checks that are registered with odd
// words are in one state each.
func TestTenants(t *testing.T) {
	t.Parallel()
	upstream := must.Get(toolbox.Path("consul_exporter"))(t)
	c := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1})
	harness.Settle(t, c)
	server := c.Servers[0]
	for i := range 100 {
		name, state := fmt.Sprintf("shop-%02d", i%25), "passing"
		if i < 4 {
			state = "critical"
		}
		registerState(t, server, fmt.Sprintf("host-%d", i%10), fmt.Sprintf("shop-%d", i), name, state)
	}
	e := harness.StartExporter(t, nil, "--consul.server="+server.URL())
	harness.WaitFor(t, 30*time.Second, "Consul to be healthy", func() string {
		st := e.FreshStatus(t)
		return harness.Unless(st.Level == status.LevelHealthy, "%s: %s %v", st.Level, st.Verdict, st.Problems)
	})
	expectTenants(t, server, e, status.LevelDegraded, "100 instances of 25 services: 4 critical",
		"ConsulServiceInstancesCritical")

	registerSidecar(t, c.Clients[0])
	for word, name := range map[string]string{
		"maintenance": "resting", "unknown": "strange", "Passing": "fine", "CRITICAL": "loud",
	} {
		registerState(t, server, "odd", name+"-1", name, word)
	}
	instances := func(service, state string) string {
		return fmt.Sprintf("consul_catalog_service_instances{service_name=%q,status=%q}", service, state)
	}
	s := e.Await(t, harness.Samples{
		instances("count", "maintenance"): 1, instances("count-sidecar-proxy", "maintenance"): 1,
		instances("count-sidecar-proxy", "critical"): 0,
	})
	s.Expect(t, harness.Samples{
		instances("resting", "maintenance"): 1, instances("resting", "passing"): 0,
		instances("strange", "unknown"): 1, instances("strange", "passing"): 0,
		instances("fine", "passing"): 1, instances("fine", "critical"): 0,
		instances("loud", "critical"): 1, instances("loud", "passing"): 0,
	})
	s.ExpectNone(t, instances("fine", "unknown"))
	theirs := harness.Launch(t, upstream, nil, "--consul.server="+server.URL(), "--consul.timeout=5s").Scrape(t)
	theirs.Expect(t, harness.Samples{
		`consul_health_service_status{check="resting-1-alive",node="odd",service_id="resting-1",` +
			`service_name="resting",status="maintenance"}`: 1,
	})
	expectSameFamilies(t, theirs, s, false)
	expectTenants(t, server, e, status.LevelCritical, "1 service has no healthy instance: loud", "ConsulServiceDown")
}

// registerState registers an instance on a node without an agent, with a check in this state.
func registerState(t *testing.T, a *consultest.Agent, node, id, name, state string) {
	t.Helper()
	registration{
		Node: node, Address: "10.0.0.9", Service: &service{ID: id, Service: name},
		Check: &nodeCheck{CheckID: id + "-alive", Name: "Alive", Status: state, ServiceID: id},
	}.send(t, a)
}

// registerSidecar registers a service of the mesh, whose sidecar has an alias check, and puts the service into
// maintenance.
func registerSidecar(t *testing.T, a *consultest.Agent) {
	t.Helper()
	agent := a.Client().Agent()
	must.Do(t, agent.ServiceRegister(&api.AgentServiceRegistration{
		Name: "count", Port: 9001, Connect: &api.AgentServiceConnect{SidecarService: &api.AgentServiceRegistration{
			Checks: api.AgentServiceChecks{{Name: "Alias", AliasService: "count"}},
		}},
	}))
	must.Do(t, agent.EnableServiceMaintenance("count", "planned"))
	harness.WaitFor(t, 30*time.Second, "the sidecar to be critical", func() string {
		checks, _, err := a.Client().Health().Checks("count-sidecar-proxy", nil)
		return harness.Unless(err == nil && len(checks) == 1 && checks[0].Status == api.HealthCritical,
			"checks are %+v, error %v", checks, err)
	})
}

// expectTenants fails unless everything that shows the state of the cluster calls Consul healthy, and has this about
// its services.
func expectTenants(
	t *testing.T, a *consultest.Agent, e *harness.Exporter, level status.Level, sentence, alert string,
) {
	t.Helper()
	st := e.FreshStatus(t)
	if st.Level != status.LevelHealthy || len(st.Problems) != 0 || st.Services.Level != level ||
		!strings.Contains(st.Services.Verdict, sentence) ||
		!strings.Contains(strings.Join(harness.AlertsOf(st), " "), alert) {
		t.Errorf("the page has %s: %s %v, and services %+v; want %s with %q and %s", st.Level, st.Verdict, st.Problems,
			st.Services, level, sentence, alert)
	}
	page := e.Page(t, "/", 200)
	const word = `<strong class="level">`
	for _, text := range []string{word + "healthy", word + string(level), sentence} {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
	ofServices := cli.LevelCodes[level]
	for flags, want := range map[string]struct {
		code            int
		consul, tenants bool
	}{
		"":                              {cli.ExitHealthy, true, true},
		"--only=cluster":                {cli.ExitHealthy, true, false},
		"--only=services":               {ofServices, false, true},
		"--output=json":                 {cli.ExitHealthy, true, true},
		"--output=json|--only=cluster":  {cli.ExitHealthy, true, false},
		"--output=json|--only=services": {ofServices, false, true},
	} {
		code, out, errs := harness.CheckOf(t, a, strings.FieldsFunc(flags, func(r rune) bool { return r == '|' })...)
		text := harness.Unwrapped(out)
		consul, tenants := strings.Contains(text, "1 of 1 voter answers"), strings.Contains(text, sentence)
		if code != want.code || consul != want.consul || tenants != want.tenants || errs != "" {
			t.Errorf("check %s: exit code %d, about Consul %v, about services %v, %s; want %+v\n%s",
				flags, code, consul, tenants, errs, want, out)
		}
		if strings.Contains(flags, "json") && !json.Valid([]byte(out)) {
			t.Errorf("check %s prints what is not JSON: %s", flags, out)
		}
	}
}
