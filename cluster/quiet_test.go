// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// everything waits for all facts of a snapshot that read an endpoint, and returns the errors by the name of what was
// not to be had.
func everything(ctx context.Context, s *Snapshot) map[string]error {
	waits := map[string]func(context.Context) error{
		"agent": started(s.Agent()), "metrics": started(s.Telemetry()), "members": started(s.Members()),
		"wan":  started(s.WANMembers()),
		"raft": started(s.RaftPeers()), "leader": started(s.StatusLeader()), "peers": started(s.StatusPeers()),
		"nodes": started(s.CatalogNodes()), "catalog": started(s.Catalog()), "datacenters": started(s.Datacenters()),
		"autopilot": started(s.AutopilotState()), "autopilot config": started(s.AutopilotConfig()),
		"leader's autopilot": started(s.LeaderAutopilot()), "leader's raft": started(s.LeaderRaftPeers()),
		"leader's config": started(s.LeaderAutopilotConfig()),
		"consistent":      started(s.ConsistentRead()),
		"mesh":            started(s.MeshRoots()),
		"peerings":        started(s.Peerings()), "acl": started(s.ACLReplication()), "sessions": started(s.Sessions()),
		"keys": started(s.KeyNumbers()), "rtts": started(s.ServerRTTs()), "ports": started(s.PortReports()),
		"servers": started(s.ServerAgents()),
	}
	errs := make(map[string]error)
	for name, wait := range waits {
		if err := wait(ctx); err != nil {
			errs[name] = err
		}
	}
	return errs
}

func started[T any](f *Fact[T]) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := f.Get(ctx)
		return err
	}
}

// quietly takes snapshots of everything through an agent, of which the first few are each by a cluster of their own,
// as the command check has them. Nothing of it may be in the log of an agent. It returns the errors of the last one,
// and its ports.
func quietly(t *testing.T, c *consultest.Cluster, opts Options) (errs map[string]error, ports []PortReport) {
	t.Helper()
	opts.Ports.Timeout, opts.Ports.Concurrency = 2*time.Second, 16
	opts.Client.Timeout, opts.KVPrefix = 2*time.Second, "config/"
	marks := make(map[*consultest.Agent]int)
	for _, a := range c.Agents() {
		marks[a] = a.LogMark()
	}
	var kept *Cluster
	for i := range 12 {
		if i < 4 {
			kept = New(opts)
			t.Cleanup(kept.Close)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		snap := kept.Snapshot(ctx)
		errs = everything(ctx, snap)
		ports, _ = snap.PortReports().Get(ctx)
		snap.Close()
		cancel()
	}
	for a, mark := range marks {
		for _, line := range consultest.AtLeast(a.LogsSince(mark), "WARN") {
			if strings.Contains(line.Raw, "127.0.0.1:") {
				t.Errorf("%s logged: %s", a, line.Raw)
			}
		}
	}
	return errs, ports
}

// expectErrors compares the facts that could not be had with what their errors must say.
func expectErrors(t *testing.T, got map[string]error, want map[string]string) {
	t.Helper()
	for name, err := range got {
		if text, ok := want[name]; !ok || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: error %v; want %q", name, err, text)
		}
	}
	for name, text := range want {
		if got[name] == nil {
			t.Errorf("%s: no error; want %q", name, text)
		}
	}
}

func expectRefused(t *testing.T, errs map[string]error) {
	t.Helper()
	for name, err := range errs {
		if !errors.Is(err, consul.ErrRefused) {
			t.Errorf("%s: error %v is no refusal", name, err)
		}
	}
}

func addressOf(t *testing.T, a *consultest.Agent) consul.Address {
	t.Helper()
	return must.Get(consul.ParseAddress(a.URL()))(t)
}

func TestQuiet_SwitchedOff(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, Config: map[string]any{
		"connect": map[string]any{"enabled": false}, "peering": map[string]any{"enabled": false},
	}})
	errs, ports := quietly(t, c, Options{Client: consul.Options{Address: addressOf(t, c.Servers[0])}})
	expectErrors(t, errs, map[string]string{
		"mesh": "server-1 has the service mesh switched off", "peerings": "server-1 has cluster peering switched off",
		"acl": "server-1 has ACLs switched off",
	})
	expectRefused(t, errs)
	expectPorts(t, ports, "grpc_tls/tcp")
}

// expectPorts wants all ports to be verified but those that are not asked.
func expectPorts(t *testing.T, ports []PortReport, unasked ...string) {
	t.Helper()
	var got []string
	for _, p := range ports {
		name := string(p.Protocol) + "/" + p.Transport
		switch {
		case p.Unasked():
			got = append(got, name)
		case !p.Result.Up || !p.Result.Verified:
			t.Errorf("%s of %s: up %v, verified %v, %v", name, p.Server, p.Result.Up, p.Result.Verified, p.Result.Err)
		}
	}
	if strings.Join(got, " ") != strings.Join(unasked, " ") {
		t.Errorf("not asked are %q; want %q", got, unasked)
	}
	if len(ports) < 8 {
		t.Errorf("there are %d ports; want those of a server", len(ports))
	}
}

// tlsOf is the client's side of TLS for a cluster's agents; nil for a cluster without.
func tlsOf(t *testing.T, c *consultest.Cluster) *consul.TLS {
	t.Helper()
	if c.CACert == "" {
		return nil
	}
	return must.Get(consul.TLSFiles{CAFile: c.CACert, CertFile: c.ClientCert, KeyFile: c.ClientKey}.Open(nil))(t)
}

func TestQuiet_MeshGateways(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 1, TLS: true, Config: map[string]any{
		"connect": map[string]any{"enabled": true, "enable_mesh_gateway_wan_federation": true},
	}})
	files := tlsOf(t, c)
	errs, ports := quietly(t, c, Options{
		Client: consul.Options{Address: addressOf(t, c.Servers[0]), TLS: files}, Ports: PortOptions{RPCTLSConfig: files},
	})
	expectErrors(t, errs, map[string]string{"acl": "ACLs"})
	expectPorts(t, ports, "serf_wan/udp")
}

func TestQuiet_Rights(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 2, Clients: 1, ACL: true})
	token := func(rules string) func() string {
		secret := must.Get(c.NewToken(t.Context(), rules))(t)
		return func() string { return secret }
	}
	const denied = "permission denied: the token lacks "
	operator := map[string]string{
		"raft": denied + "operator:read", "autopilot": denied + "operator:read", "autopilot config": denied + "operator:read",
		"leader's autopilot": denied + "operator:read", "leader's raft": denied + "operator:read",
		"leader's config": denied + "operator:read", "peerings": denied + "peering:read",
	}
	const self = denied + "agent:read"
	nothing := map[string]string{"agent": self, "metrics": self, "servers": self, "rtts": self}
	maps.Copy(nothing, operator)
	for _, tc := range []struct {
		name  string
		token func() string
		want  map[string]string
	}{
		{"no token", nil, nothing},
		{
			"without operator:read",
			token(`agent_prefix "" { policy = "read" } node_prefix "" { policy = "read" }
				service_prefix "" { policy = "read" }`),
			operator,
		},
		{"node:read only", token(`node_prefix "" { policy = "read" }`), nothing},
		{
			"all", token(`agent_prefix "" { policy = "read" } node_prefix "" { policy = "read" }
				service_prefix "" { policy = "read" }
				operator = "read" peering = "read" key_prefix "" { policy = "read" } session_prefix "" { policy = "read" }`), nil,
		},
	} {
		for _, a := range []*consultest.Agent{c.Servers[0], c.Servers[1], c.Clients[0]} {
			t.Run(tc.name+" through "+a.Name, func(t *testing.T) {
				errs, _ := quietly(t, c, Options{Client: consul.Options{Address: addressOf(t, a), Token: tc.token}})
				expectErrors(t, errs, tc.want)
				expectRefused(t, errs)
			})
		}
	}
}

// A cluster after a power failure of which one server has come back: it knows its Raft configuration, and no leader
// to ask for more.
func TestQuiet_ColdStart(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	for _, a := range c.Servers {
		must.Do(t, a.Kill())
	}
	must.Do(t, c.Servers[0].Restart(t.Context()))
	const never = "has not heard of one since it started"
	want := map[string]string{
		"nodes": never, "catalog": never, "autopilot": never, "autopilot config": never, "mesh": never, "sessions": never,
		"keys":               never,
		"leader's autopilot": "no leader", "leader's raft": "no leader", "leader's config": "no leader",
		"peerings": "no leader", "acl": "switched off",
	}
	errs, ports := quietly(t, c, Options{Client: consul.Options{Address: addressOf(t, c.Servers[0])}})
	expectErrors(t, errs, want)
	for _, p := range ports {
		if p.Server == "server-1" && p.Protocol == ProtocolRPC && !p.Result.Up {
			t.Errorf("port 8300 of the server that is up: %v", p.Result.Err)
		}
	}
}

// A client agent that gets its certificate from the servers knows that their port 8300 wants TLS, though it has none
// of its own configured.
func TestQuiet_AutoEncrypt(t *testing.T) {
	t.Parallel()
	// Clients without a certificate serve no HTTPS.
	c := consultest.Start(t,
		consultest.Options{Servers: 1, Clients: 1, TLS: true, Config: map[string]any{
			"ports": map[string]any{"http": 8500, "https": -1},
		}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server, client := c.Servers[0], c.Clients[0]
	must.Do(t, server.Configure(map[string]any{"auto_encrypt": map[string]any{"allow_tls": true}}))
	must.Do(t, server.Restart(ctx))
	must.Do(t, client.Configure(map[string]any{
		"auto_encrypt": map[string]any{"tls": true},
		"tls": map[string]any{
			"defaults":     map[string]any{"cert_file": "", "key_file": "", "verify_incoming": false, "verify_outgoing": false},
			"internal_rpc": map[string]any{"verify_server_hostname": false},
		},
	}))
	must.Do(t, client.Restart(ctx))
	must.Do(t, c.WaitMembers(ctx, 2))
	must.Get(c.WaitLeader(ctx))(t)
	errs, ports := quietly(t, c, Options{
		Client: consul.Options{Address: addressOf(t, client)}, Ports: PortOptions{RPCTLSConfig: tlsOf(t, c)},
	})
	expectErrors(t, errs, map[string]string{"acl": "ACLs"})
	for _, p := range ports {
		if p.Protocol == ProtocolRPC && (p.tls == nil || !p.Result.Up) {
			t.Errorf("port 8300 is asked with TLS %v, and up %v: %v", p.tls != nil, p.Result.Up, p.Result.Err)
		}
	}
}
