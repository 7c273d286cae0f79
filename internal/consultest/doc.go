// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package consultest starts real Consul clusters for tests and for the demo, and breaks them.
//
// # A cluster
//
// Start gives a test a running cluster, by default of three servers, which is gone again when the test ends:
//
//	func TestSomething(t *testing.T) {
//		cluster := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
//		leader, err := cluster.Leader(t.Context())
//		...
//	}
//
// When Start returns, all agents know each other, all servers agree on a leader, that leader answers consistent
// reads, and its catalog has all nodes; that takes some ten seconds, most of them for the first election. The agents
// write the details of their nodes into the catalog a little later: see WaitSynced. New does the same as Start without
// a test, for programs.
//
// The cluster is a real one in all respects that can be seen from outside: each agent is a process of Consul's own
// binary, with an address of its own and Consul's default ports on it, see PortServer and the others. Server i (from
// 1) has the address 127.x.y.i and client i 127.x.y.(100+i), in a network 127.x.y.0 that the cluster has for itself,
// so any number of clusters of any number of processes run side by side. Options turns on TLS, gossip encryption and
// ACLs, and can change anything else in the agents' configuration. JoinWAN federates two clusters, and Peer peers
// them; they differ in Options.Datacenter.
//
// # One test and another
//
// Tests of several packages may run at one time, and in parallel. So that they do not starve each other, only so many
// of them have clusters at one time, in all processes on this machine: six for two processors, or as many as the
// environment variable TEST_CLUSTERS says. Start waits for its turn. A test has one turn for all of its clusters and
// those of its subtests, from the first Start until it ends. Set timeouts after the first Start, so that the time
// spent waiting does not count. New waits for nothing.
//
// # Breaking it
//
//	agent.Kill()        // a crash
//	agent.Stop()        // hangs, but its ports accept connections
//	agent.Continue()    // fixes that
//	agent.Leave(ctx)    // an orderly shutdown
//	agent.Restart(ctx)  // the same data and address again, after any of these
//
// With BootstrapAlone every server is a cluster of its own and its own leader; Join makes their gossip pools one and
// gives a cluster with several leaders, a split brain.
//
// Settings are Consul's defaults: some twenty seconds after a crash autopilot removes the server from the cluster, if the
// others are enough, and makes it a voter again some ten seconds after it is back. Deviations change that.
//
// None of these waits for the others to notice. Wait for that with WaitLeader, WaitMembers or a condition of your
// own, but never by sleeping.
//
// # Filling its catalog
//
// LoadCatalog writes nodes, services, instances and their checks, thousands of each in seconds, and waits until all
// servers have them:
//
//	cluster.LoadCatalog(ctx, consultest.Catalog{Nodes: 200, Services: 1000, Instances: 5000})
//
// # What it leaves in the logs
//
// A good probe leaves no trace. Note the end of an agent's log, do something, and look for warnings:
//
//	mark := agent.LogMark()
//	probe(agent.Addr)
//	for _, line := range consultest.AtLeast(agent.LogsSince(mark), "WARN") {
//		t.Errorf("the probe made Consul log %s", line)
//	}
//
// When a test fails, the end of each agent's log is part of its output.
//
// # What it needs
//
// The binary comes from internal/toolbox: without it every test fails with a message that says how to get it. It
// needs Linux, which has all of 127.0.0.0/8 on its loopback interface and kills the agents even if the test is
// killed; the package compiles elsewhere, but does less there.
package consultest
