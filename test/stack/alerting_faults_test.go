// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"os"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

const day = 24 * time.Hour

// serverFaults are faults of servers, of services and of agents.
var serverFaults = []fault{
	{
		act: "quorum and services", cluster: "quorum", options: three(brisk()), asked: "server-3",
		name:   "two of three servers are killed",
		breaks: kill("server-1", "server-2"), repairs: restart("server-1", "server-2"),
		alerts: []wantAlert{
			critical("ConsulQuorumLost", ""),
			warning("ConsulServerDown", "server=server-1"),
			warning("ConsulServerDown", "server=server-2"),
			held(warning("ConsulServerCandidate", "server=server-3")),
			held(warning("ConsulPortDown", "server=server-1 port=8300 protocol=rpc transport=tcp")),
			held(warning("ConsulPortDown", "server=server-1 port=8301 protocol=serf_lan transport=tcp")),
			held(warning("ConsulGossipHealthPoor", "pool=lan")),
		},
	},
	{
		act: "hung leader and token", cluster: "hung", options: three(brisk()), asked: "server-2 server-3",
		name:   "the leader hangs (SIGSTOP), watched by two exporters",
		breaks: stop("server-1"), repairs: resume("server-1"),
		alerts: []wantAlert{
			warning("ConsulServerHung", "server=server-1"),
			critical("ConsulQuorumAtRisk", ""),
			held(warning("ConsulPortDown", "server=server-1 port=8300 protocol=rpc transport=tcp")),
			held(warning("ConsulPortDown", "server=server-1 port=8500 protocol=http transport=tcp")),
			held(warning("ConsulPortDown", "server=server-1 port=8502 protocol=grpc transport=tcp")),
			held(warning("ConsulPortDown", "server=server-1 port=8600 protocol=dns transport=tcp")),
		},
	},
	{
		act: "quorum and services", settings: map[string]string{"maintenance": "2m"},
		cluster: "services", options: consultest.Options{Servers: 3, Clients: 3, Deviations: steady()}, asked: "server-1",
		prepare: registerServices,
		name:    "one of two instances of a service goes critical",
		breaks:  setCheck("client-1", "web-2", api.HealthCritical), repairs: setCheck("client-1", "web-2", api.HealthPassing),
		alerts: []wantAlert{warning("ConsulServiceInstancesCritical", "service_name=web")},
	},
	{
		name:   "all instances of a service go critical",
		breaks: setCheck("client-1", "db-1", api.HealthCritical), repairs: setCheck("client-1", "db-1", api.HealthPassing),
		alerts: []wantAlert{warning("ConsulServiceDown", "service_name=db")},
	},
	{
		name:   "a check of a server's node goes critical",
		breaks: setCheck("server-3", "disk", api.HealthCritical), repairs: setCheck("server-3", "disk", api.HealthPassing),
		alerts: []wantAlert{
			warning("ConsulNodeCheckCritical", "node=server-3 check=disk"),
			warning("ConsulDNSFewerServers", "server=server-1 port=8600"),
			warning("ConsulDNSFewerServers", "server=server-2 port=8600"),
			warning("ConsulDNSFewerServers", "server=server-3 port=8600"),
		},
	},
	{
		name:    "a node stays in maintenance, for longer than `--maintenance=2m`",
		breaks:  onAPI("client-2", func(a *api.Agent) error { return a.EnableNodeMaintenance("") }),
		repairs: onAPI("client-2", (*api.Agent).DisableNodeMaintenance),
		alerts:  []wantAlert{info("ConsulNodeMaintenanceLong", "node=client-2")},
	},
	{
		name:    "a service instance stays in maintenance, for longer than `--maintenance=2m`",
		breaks:  onAPI("client-1", func(a *api.Agent) error { return a.EnableServiceMaintenance("api-1", "") }),
		repairs: onAPI("client-1", func(a *api.Agent) error { return a.DisableServiceMaintenance("api-1") }),
		alerts: []wantAlert{
			info("ConsulServiceMaintenanceLong", "node=client-1 service_id=api-1 service_name=api"),
		},
	},
	{
		act: "hung leader and token", cluster: "untouched", asked: "server-1 client-1",
		options: consultest.Options{Servers: 3, Clients: 1, Deviations: steady()},
		prepare: func(w *world) []string {
			register(w, w.Clients[0], "web-1", "web")
			return nil
		},
		name: "nothing, for ten minutes",
		// Other clusters of the act are still broken then.
		repairs: func(w *world) { w.expectCalm(w.t, "untouched", scaled(10*time.Minute)) },
	},
	{
		act: "hung leader and token", cluster: "token", options: locked(), asked: "server-1", prepare: grant,
		name: "the exporter's token is revoked",
		breaks: func(w *world) {
			acl := w.Servers[0].Client().ACL()
			own, _, err := acl.TokenReadSelf(&api.QueryOptions{Token: w.token})
			must.Do(w.t, err)
			must.Get(acl.TokenDelete(own.AccessorID, nil))(w.t)
		},
		repairs: func(w *world) { rewrite(w, w.tokenFile, newToken(w, harness.ReadmePolicy(w.t))) },
		alerts:  []wantAlert{warning("ConsulCollectorFails", "*")},
	},
	{
		act: "leader and followers", cluster: "leader", options: three(brisk()), asked: "server-2",
		name:   "the leader is killed",
		breaks: kill("server-1"), repairs: restart("server-1"),
		alerts: []wantAlert{
			warning("ConsulServerDown", "server=server-1"),
			critical("ConsulQuorumAtRisk", ""),
			held(warning("ConsulPortDown", "server=server-1 port=8300 protocol=rpc transport=tcp")),
			held(warning("ConsulPortDown", "server=server-1 port=8302 protocol=serf_wan transport=tcp")),
			held(warning("ConsulSerfMemberFailed", "member=server-1 server=server-1")),
			held(warning("ConsulSerfWANMemberFailed", "member=server-1.dc1 dc=dc1 server=server-1")),
			held(warning("ConsulAutopilotUnhealthy", "")),
		},
	},
	{
		act: "leader and followers", cluster: "follower", options: three(steady()), asked: "server-1",
		name:   "a follower hangs (SIGSTOP)",
		breaks: stop("server-3"), repairs: resume("server-3"),
		alerts: []wantAlert{
			warning("ConsulServerHung", "server=server-3"),
			critical("ConsulQuorumAtRisk", ""),
			held(warning("ConsulPortDown", "server=server-3 port=8300 protocol=rpc transport=tcp")),
			held(warning("ConsulSerfMemberFailed", "member=server-3 server=server-3")),
			held(warning("ConsulAutopilotUnhealthy", "")),
		},
	},
	followerKilled("east", "server-1 server-2"),
	followerKilled("west", "server-1"),
	{
		act: "clusters", cluster: "split", asked: "server-1",
		options: consultest.Options{Servers: 2, Bootstrap: consultest.BootstrapAlone, Deviations: brisk()},
		name:    "two servers that each lead a cluster of their own are joined",
		breaks:  func(w *world) { must.Do(w.t, w.Join(harness.Soon(w.t), w.Servers[0], w.Servers[1])) },
		repairs: leave("server-2"),
		alerts: []wantAlert{
			warning("ConsulClustersMixed", ""),
			held(warning("ConsulExporterBlind", "*")),
		},
	},
	{
		act: "clusters", cluster: "moves", options: three(brisk()), asked: "server-1",
		name: "leadership is transferred five times in a row",
		breaks: func(w *world) {
			for i := range 5 {
				must.Do(w.t, w.TransferLeadership(harness.Soon(w.t), w.Servers[(i+1)%3]))
				time.Sleep(2 * alertScrapeInterval) //nolint:forbidigo // So that each is seen.
			}
		},
		alerts: []wantAlert{warning("ConsulLeaderChangesOften", "")},
	},
	{
		act: "leader and followers", cluster: "crashed", options: three(brisk()), asked: "server-1 server-2",
		name:   "all servers are killed and come back, one at a time",
		breaks: restartAll(func(_ *world, a *consultest.Agent) error { return a.Kill() }),
	},
	{
		act: "certificates and rights", cluster: "tls", asked: "server-1",
		options: consultest.Options{Servers: 3, TLS: true, CertLifetime: 90 * day, Deviations: steady()},
		prepare: func(w *world) []string { return harness.TLSFlags(w.Cluster) },
		name:    "a server's certificate expires in ten days",
		breaks:  certify("server-2", 10*day), repairs: certify("server-2", 90*day),
		alerts: []wantAlert{
			warning("ConsulCertificateExpires", "server=server-2 port=8300 protocol=rpc state=expiring"),
			warning("ConsulCertificateExpires", "server=server-2 port=8501 protocol=https state=expiring"),
			warning("ConsulCertificateExpires", "server=server-2 port=8503 protocol=grpc_tls state=expiring"),
		},
	},
	{
		name:   "a server's certificate has expired",
		breaks: certify("server-3", -time.Minute), repairs: certify("server-3", 90*day),
		alerts: []wantAlert{
			critical("ConsulCertificateExpires", "server=server-3 port=8300 protocol=rpc state=expired"),
			critical("ConsulCertificateExpires", "server=server-3 port=8501 protocol=https state=expired"),
			critical("ConsulCertificateExpires", "server=server-3 port=8503 protocol=grpc_tls state=expired"),
			// Its ports answer, and it is the exporter that does not accept the certificate.
			warning("ConsulExporterBlind", "*"),
			held(warning("ConsulCertificateExpires", "server=server-3 port=8300 protocol=rpc state=expired")),
			held(warning("ConsulCertificateExpires", "server=server-3 port=8501 protocol=https state=expired")),
			held(warning("ConsulCertificateExpires", "server=server-3 port=8503 protocol=grpc_tls state=expired")),
		},
	},
	{
		act: "voters", cluster: "fewer", options: three(steady()), asked: "server-1",
		name:   "a server leaves between two scrapes and does not come back",
		breaks: unseen(leave("server-3")), repairs: restart("server-3"),
		alerts: []wantAlert{
			warning("ConsulServerDown", "server=server-3"),
			critical("ConsulQuorumAtRisk", ""),
			warning("ConsulVotersMissing", ""),
		},
		except: []exception{{
			why:    "ConsulVotersMissing holds it back, and rests on the number of voters over a day",
			alerts: []string{"ConsulEvenVoters"},
		}},
	},
	agentGone("agent", "the agent that the exporter asks is killed", kill("client-1"), restart("client-1")),
	agentGone("stuck", "the agent that the exporter asks hangs (SIGSTOP)", stop("client-1"), resume("client-1")),
	{
		act: "exporters and agents", cluster: "agents", options: consultest.Options{Servers: 1, Clients: 2},
		asked:  "client-1 server-1",
		name:   "the agent that one of two exporters asks is killed",
		breaks: kill("client-1"), repairs: restart("client-1"),
		alerts: []wantAlert{warning("ConsulAgentUnreachable", "*")},
		except: []exception{{
			why:    "a page is about the agent of its own exporter, and alerts are about those of all exporters",
			alerts: []string{"ConsulAgentUnreachable"},
		}},
	},
	{
		act: "certificates and rights", cluster: "half", options: locked(), asked: "server-1",
		prepare: func(w *world) []string {
			for _, name := range []string{"api", "web"} {
				_, err := w.Servers[0].Client().Catalog().Register(&api.CatalogRegistration{
					Node: "worker", Address: "10.0.0.9", Service: &api.AgentService{ID: name + "-1", Service: name},
				}, nil)
				must.Do(w.t, err)
			}
			return grant(w)
		},
		name:    "the exporter gets a token that may read half of the services",
		breaks:  func(w *world) { rewrite(w, w.tokenFile, newToken(w, halfPolicy(w))) },
		repairs: func(w *world) { rewrite(w, w.tokenFile, w.token) },
		alerts:  []wantAlert{warning("ConsulResultsFiltered", "endpoint=/v1/catalog/services")},
	},
}

// exporterFaults are faults of exporters and of how they are configured. All watch one server, each fault as if it
// had a cluster to itself.
var exporterFaults = []fault{
	{
		act: "exporters and agents", options: consultest.Options{Servers: 1}, prepare: startExporters,
		cluster: "doubled", name: "one of two exporters is killed",
		breaks: end("doubled"), repairs: again("doubled"),
		alerts: []wantAlert{warning("ConsulExporterDown", "*")},
	},
	{
		cluster: "single", name: "the only exporter is killed",
		breaks: end("single"), repairs: again("single"),
		alerts: []wantAlert{critical("ConsulExporterMissing", "")},
	},
	{
		cluster: "dropped", name: "service discovery drops the only exporter",
		breaks:  func(w *world) { w.unwatch(w.t, w.exporters["dropped"]) },
		repairs: func(w *world) { w.watch(w.t, w.exporters["dropped"]) },
		alerts:  []wantAlert{warning("ConsulExporterMissing", "")},
	},
	{
		cluster: "large", name: "the catalog outgrows `--collector.catalog.max-series`",
		// Repaired without the low limit: services that go would be alerts of their own.
		breaks: registerFifty, repairs: again("large"),
		alerts: []wantAlert{warning("ConsulCatalogTooLarge", "")},
	},
	{
		cluster: "configured", name: "the exporter's configuration file is broken, and loaded",
		breaks:  func(w *world) { reload(w, "modules: [") },
		repairs: func(w *world) { reload(w, goodConfig) },
		alerts:  []wantAlert{warning("ConsulConfigReloadFailed", "*")},
	},
	{
		cluster: "misled", name: "the exporter is configured to read a datacenter that there is not",
		breaks:  func(w *world) { w.replace("misled", "--consul.datacenter=dc9") },
		repairs: again("misled"),
		alerts: []wantAlert{
			warning("ConsulCollectorFails", "collector=catalog reason=failed"),
			warning("ConsulCollectorFails", "collector=members reason=failed"),
			warning("ConsulCollectorFails", "collector=overview reason=failed"),
		},
	},
	{
		cluster: "impaired", name: "the exporter's token file is gone",
		breaks:  func(w *world) { must.Do(w.t, os.Rename(w.tokenFile, w.tokenFile+".gone")) },
		repairs: func(w *world) { must.Do(w.t, os.Rename(w.tokenFile+".gone", w.tokenFile)) },
		alerts:  []wantAlert{warning("ConsulExporterImpaired", "*")},
		except:  []exception{{why: "check does not start without the file", view: "check"}},
	},
}

// meshFaults are faults of the service mesh, of gossip's encryption and of peerings.
var meshFaults = []fault{
	{
		act: "mesh and gossip", cluster: "mesh", options: consultest.Options{Servers: 1}, asked: "server-1",
		name:   "the root certificate of the service mesh expires in five hours",
		breaks: newRoot("rsa", 2048, "5h"), repairs: newRoot("ec", 256, "87600h"),
		alerts: []wantAlert{critical("ConsulCARootExpires", "*"), held(warning("ConsulCARootExpires", "*"))},
	},
	{
		act: "mesh and gossip", cluster: "gossip", options: consultest.Options{Servers: 1, Clients: 1, Deviations: brisk()},
		asked:  "server-1 client-1",
		name:   "encryption of gossip is turned on for one of two agents",
		breaks: encrypt("client-1"), repairs: encrypt("server-1"), // In the end it is on for both.
		alerts: []wantAlert{warning("ConsulGossipEncryptionDiffers", "")},
	},
	{
		act: "mesh and gossip", cluster: "peered", asked: "server-1", prepare: establishPeering,
		options: consultest.Options{Servers: 1, Datacenter: "west"},
		name:    "the other cluster deletes a peering",
		breaks:  func(w *world) { deletePeering(w, w.peer, "west") },
		repairs: func(w *world) { deletePeering(w, w.Servers[0], "east") },
		alerts:  []wantAlert{warning("ConsulPeeringDown", "peer=east")},
	},
}

// followerKilled happens in two clusters at a time, one of which has two exporters: each cluster has its own alerts,
// once.
func followerKilled(cluster, asked string) fault {
	return fault{
		act: "clusters", cluster: cluster, options: three(steady()), asked: asked,
		name:   "a follower is killed, in each of two clusters, one of which has two exporters",
		breaks: kill("server-3"), repairs: restart("server-3"),
		alerts: []wantAlert{warning("ConsulServerDown", "server=server-3"), critical("ConsulQuorumAtRisk", "")},
	}
}

// agentGone is that the only agent that is asked does not answer.
func agentGone(cluster, name string, breaks, repairs step) fault {
	return fault{
		act: "exporters and agents", cluster: cluster, options: consultest.Options{Servers: 1, Clients: 1},
		asked: "client-1", name: name, breaks: breaks, repairs: repairs,
		alerts: []wantAlert{critical("ConsulAgentUnreachable", "")},
	}
}
