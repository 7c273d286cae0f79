// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// three is a cluster of three servers.
func three(config map[string]any) consultest.Options {
	return consultest.Options{Servers: 3, Config: config}
}

// locked is a cluster that denies by default.
func locked() consultest.Options { return consultest.Options{Servers: 3, ACL: true, Config: steady()} }

// steady is for clusters whose elections are not tested.
func steady() map[string]any { return harness.Patient(brisk()) }

// brisk makes gossip between datacenters as fast as that within one: by default it takes half a minute to notice a
// failure, and as long to notice that it is over, which is longer than the alerts last here. Servers that are dead stay
// members, so that alerts name them.
func brisk() map[string]any {
	config := harness.KeepDead()
	config["gossip_wan"] = map[string]any{
		"gossip_interval": "200ms", "probe_interval": "1s", "probe_timeout": "500ms", "suspicion_mult": 4,
	}
	return config
}

// leave makes a server leave, and server-1 sure of it: on a busy machine it may not have heard, and consider it failed.
func leave(name string) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		harness.Must(t, w.agent(t, name).Leave(harness.Soon(t)))
		harness.Must(t, w.Servers[0].Client().Agent().ForceLeave(name))
	}
}

// restartAll restarts all servers, one at a time, as an upgrade does: each is back before the next one goes.
func restartAll(end func(*testing.T, *consultest.Agent) error) step {
	return func(t *testing.T, w *world) {
		t.Helper()
		for _, a := range w.Servers {
			harness.Must(t, end(t, a))
			harness.Must(t, a.Restart(harness.Soon(t)))
			waitVoters(t, w.Cluster)
		}
	}
}

// waitVoters waits until all servers vote and autopilot calls them healthy: then an operator goes on to the next one.
func waitVoters(t *testing.T, c *consultest.Cluster) {
	t.Helper()
	harness.Must(t, c.WaitMembers(harness.Soon(t), len(c.Servers)))
	harness.WaitFor(t, 60*time.Second, "autopilot to call all servers healthy", func() string {
		leader, err := c.Leader(harness.Soon(t))
		if err != nil {
			return err.Error()
		}
		state, err := leader.Client().Operator().AutopilotState(nil)
		if err != nil {
			return err.Error()
		}
		if len(state.Voters) != len(c.Servers) || !state.Healthy {
			return fmt.Sprintf("voters %v, healthy %v", state.Voters, state.Healthy)
		}
		return ""
	})
}

// certify gives a server a certificate that is good for this long.
func certify(name string, lifetime time.Duration) step {
	return onAgents(func(a *consultest.Agent) error { return a.Certify(lifetime) }, name)
}

// setCheck sets the status of a check with a time to live.
func setCheck(name, check, status string) step {
	return onAPI(name, func(a *api.Agent) error { return a.UpdateTTL(check, "", status) })
}

// onAPI is a step by the API of an agent.
func onAPI(name string, do func(*api.Agent) error) step {
	return onAgents(func(a *consultest.Agent) error { return do(a.Client().Agent()) }, name)
}

// register registers an instance of a service, with one check whose status the test sets.
func register(t *testing.T, a *consultest.Agent, id, name string) {
	t.Helper()
	harness.Must(t, a.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: name, Check: &api.AgentServiceCheck{CheckID: id, TTL: "1h", Status: api.HealthPassing},
	}))
}

func registerServices(t *testing.T, w *world) []string {
	t.Helper()
	for _, id := range []string{"web-1", "web-2", "db-1", "api-1"} {
		name, _, _ := strings.Cut(id, "-")
		register(t, w.Clients[0], id, name)
	}
	harness.Must(t, w.Servers[2].Client().Agent().CheckRegister(&api.AgentCheckRegistration{
		ID: "disk", Name: "Disk", AgentServiceCheck: api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing},
	}))
	return nil
}

// grant allows the servers to answer DNS, and gives the exporter a token in a file.
func grant(t *testing.T, w *world) []string {
	t.Helper()
	for _, a := range w.Servers {
		_, err := a.Client().Agent().UpdateDefaultACLToken(w.ManagementToken, nil)
		harness.Must(t, err)
	}
	w.token = newToken(t, w, harness.ReadmePolicy(t))
	w.tokenFile = harness.Secret(t, w.token)
	return []string{"--consul.token-file=" + w.tokenFile}
}

func newToken(t *testing.T, w *world, policy string) string {
	t.Helper()
	token, err := w.NewToken(t.Context(), policy)
	harness.Must(t, err)
	return token
}

// halfPolicy is README's, with the right to read half of the services.
func halfPolicy(t *testing.T) string {
	t.Helper()
	return strings.Replace(harness.ReadmePolicy(t), `service_prefix ""`, `service_prefix "a"`, 1)
}

// rewrite gives a file another content.
func rewrite(t *testing.T, file, content string) {
	t.Helper()
	harness.Must(t, os.WriteFile(file, []byte(content), 0o600))
}
