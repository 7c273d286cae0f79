// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// three is a cluster of three servers.
func three(deviations []consultest.Deviation) consultest.Options {
	return consultest.Options{Servers: 3, Deviations: deviations}
}

// locked is a cluster that denies by default.
func locked() consultest.Options {
	return consultest.Options{Servers: 3, ACL: true, Deviations: steady()}
}

// steady is what all clusters here deviate in whose alerts pend for a tenth of the time. TestStackRealTime has the
// same faults with Consul's defaults and the times of the pack.
func steady() []consultest.Deviation {
	return []consultest.Deviation{
		consultest.KeepDead.Because("a dead server has to be there for a tenth of five minutes, and autopilot takes as long"),
		consultest.FastWANGossip.Because("it takes half a minute by default to notice a failure, and as long to notice its " +
			"end; alerts last less here"),
	}
}

// brisk is for clusters that have elections.
func brisk() []consultest.Deviation {
	return append(steady(), consultest.FastElections.Because(
		"an election takes up to twenty seconds by default, which is longer than the alert about no leader pends here"))
}

// leave makes a server leave, and server-1 sure of it: on a busy machine it may not have heard, and consider it failed.
func leave(name string) step {
	return func(w *world) {
		must.Do(w.t, w.agent(name).Leave(harness.Soon(w.t)))
		must.Do(w.t, w.Servers[0].Client().Agent().ForceLeave(name))
	}
}

// unseen takes a step while nothing scrapes the exporter: a server is leaving for less than a second, which is mostly
// between two scrapes. Who has not seen it cannot tell an orderly leave from a removal.
func unseen(s step) step {
	return func(w *world) {
		e := w.exporters[w.first.cluster]
		w.unwatch(w.t, e)
		s.take(w)
		w.watch(w.t, e)
	}
}

// restartAll restarts all servers, one at a time, as an upgrade does: each is back before the next one goes.
func restartAll(end func(*world, *consultest.Agent) error) step {
	return func(w *world) {
		for _, a := range w.Servers {
			must.Do(w.t, end(w, a))
			must.Do(w.t, a.Restart(harness.Soon(w.t)))
			must.Do(w.t, w.WaitMembers(harness.Soon(w.t), len(w.Servers)))
			must.Do(w.t, w.WaitHealthy(harness.Soon(w.t)))
		}
	}
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
func register(w *world, a *consultest.Agent, id, name string) {
	must.Do(w.t, a.Client().Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: name, Check: &api.AgentServiceCheck{CheckID: id, TTL: "1h", Status: api.HealthPassing},
	}))
}

func registerServices(w *world) []string {
	for _, id := range []string{"web-1", "web-2", "db-1", "api-1"} {
		name, _, _ := strings.Cut(id, "-")
		register(w, w.Clients[0], id, name)
	}
	must.Do(w.t, w.Servers[2].Client().Agent().CheckRegister(&api.AgentCheckRegistration{
		ID: "disk", Name: "Disk", AgentServiceCheck: api.AgentServiceCheck{TTL: "1h", Status: api.HealthPassing},
	}))
	return nil
}

// grant allows the servers to answer DNS, and gives the exporter a token in a file.
func grant(w *world) []string {
	for _, a := range w.Servers {
		must.Get(a.Client().Agent().UpdateDefaultACLToken(w.ManagementToken, nil))(w.t)
	}
	w.token = newToken(w, harness.ReadmePolicy(w.t))
	w.tokenFile = harness.Secret(w.t, w.token)
	return []string{"--consul.token-file=" + w.tokenFile}
}

func newToken(w *world, policy string) string {
	return must.Get(w.NewToken(w.t.Context(), policy))(w.t)
}

// halfPolicy is README's, with the right to read half of the services.
func halfPolicy(w *world) string {
	return strings.Replace(harness.ReadmePolicy(w.t), `service_prefix ""`, `service_prefix "a"`, 1)
}

// rewrite gives a file another content.
func rewrite(w *world, file, content string) {
	must.Do(w.t, os.WriteFile(file, []byte(content), 0o600))
}

// registerFifty registers fifty services, which have three series each and more.
func registerFifty(w *world) {
	for i := range 50 {
		id := fmt.Sprintf("extra-%d", i)
		register(w, w.Servers[0], id, id)
	}
}

// goodConfig is a configuration file without mistakes.
const goodConfig = "modules: {m: {targets: [127.0.0.0/8]}}"

// startExporters starts the exporters of all faults.
func startExporters(w *world) []string {
	w.configFile = harness.WriteFile(w.t, "config.yml", goodConfig)
	w.tokenFile = harness.Secret(w.t, "any-token-will-do-without-acls")
	for _, cluster := range []string{"doubled", "doubled", "single", "dropped", "misled"} {
		w.start(cluster, w.Servers[0], nil)
	}
	w.start("large", w.Servers[0], nil, "--collector.catalog.max-series=150")
	w.start("configured", w.Servers[0], nil, "--config.file="+w.configFile)
	w.start("impaired", w.Servers[0], nil, "--consul.token-file="+w.tokenFile)
	return nil
}

// end ends the exporter of a cluster, and again starts another one.
func end(cluster string) step {
	return func(w *world) { must.Do(w.t, w.exporters[cluster].Stop()) }
}

func again(cluster string) step {
	return func(w *world) { w.replace(cluster) }
}

// reload makes an exporter load another configuration file.
func reload(w *world, content string) {
	rewrite(w, w.configFile, content)
	must.Do(w.t, w.exporters["configured"].Cmd.Process.Signal(syscall.SIGHUP))
}

// newRoot changes the type of the authority's key, upon which it makes a new root certificate.
func newRoot(keyType string, bits int, lifetime string) step {
	return onAgents(func(a *consultest.Agent) error {
		_, err := a.Client().Connect().CASetConfig(&api.CAConfig{Provider: "consul", Config: map[string]any{
			"PrivateKeyType": keyType, "PrivateKeyBits": bits,
			"LeafCertTTL": "1h", "IntermediateCertTTL": "4h", "RootCertTTL": lifetime,
		}}, nil)
		return err
	}, "server-1")
}

// encrypt turns encryption on for an agent.
func encrypt(name string) step {
	return func(w *world) {
		a := w.agent(name)
		must.Do(w.t, a.Configure(map[string]any{
			"encrypt":                 base64.StdEncoding.EncodeToString(make([]byte, 32)),
			"encrypt_verify_incoming": false, "encrypt_verify_outgoing": false,
		}))
		must.Do(w.t, a.Restart(harness.Soon(w.t)))
	}
}

// establishPeering peers the scene's cluster with another one, east.
func establishPeering(w *world) []string {
	w.peer = harness.StartPeer(w.t, w.Cluster, "east").Servers[0]
	return nil
}

func deletePeering(w *world, a *consultest.Agent, peer string) {
	must.Get(a.Client().Peerings().Delete(harness.Soon(w.t), peer, nil))(w.t)
}
