// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// helperVariable makes the test binary a helper of TestNew_DiesWithItsProcess instead of running tests.
const helperVariable = "CONSULTEST_HELPER"

func TestMain(m *testing.M) {
	if how := os.Getenv(helperVariable); how != "" {
		helper(how)
		return
	}
	goleak.VerifyTestMain(m)
}

// helper starts a cluster, prints the id of its process and its folder, and never closes it.
func helper(how string) {
	cluster, err := consultest.New(context.Background(), consultest.Options{Servers: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(cluster.Servers[0].Pid())
	if how == "panic" {
		panic("as the test wants it")
	}
	select {}
}

// soon returns a context for everything that a test waits for.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := soon(t)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// get asks the agent for its leader by HTTP.
func get(ctx context.Context, agent *consultest.Agent) error {
	_, err := agent.Client().Status().LeaderWithQueryOptions(new(api.QueryOptions).WithContext(ctx))
	return err
}

// dial connects to one of the agent's ports.
func dial(ctx context.Context, agent *consultest.Agent, port int) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", agent.HostPort(port))
}

// connects connects to one of the agent's ports and closes the connection.
func connects(ctx context.Context, agent *consultest.Agent, port int) error {
	conn, err := dial(ctx, agent, port)
	if err != nil {
		return err
	}
	return conn.Close()
}

func TestStart(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{
		Servers: 3, Clients: 1,
		NodeName: func(role string, i int) string { return fmt.Sprintf("%s%d-of-test", role[:1], i) },
		Config:   map[string]any{"ports": map[string]int{"dns": -1}, "node_meta": map[string]string{"rack": "r1"}},
	})
	ctx := soon(t)

	leader, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatalf("Leader() error = %v", err)
	}
	if !leader.Server {
		t.Errorf("Leader() = %s, want a server", leader.Name)
	}
	var names []string
	for _, agent := range cluster.Agents() {
		names = append(names, agent.Name)
		if !agent.Running() || agent.Pid() == 0 {
			t.Errorf("%s: Running() = %t, Pid() = %d, want a process", agent.Name, agent.Running(), agent.Pid())
		}
		if want := "http://" + agent.Addr + ":8500"; agent.URL() != want {
			t.Errorf("%s: URL() = %q, want %q", agent.Name, agent.URL(), want)
		}
	}
	if got, want := strings.Join(names, " "), "s1-of-test s2-of-test s3-of-test c1-of-test"; got != want {
		t.Errorf("Agents() = %s, want %s", got, want)
	}
	if got := cluster.Clients[0].Addr; got[strings.LastIndex(got, "."):] != ".101" {
		t.Errorf("the address of the first client is %s, want it to end with .101", got)
	}

	if err = cluster.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	node, _, err := cluster.Clients[0].Client().Catalog().Node(leader.Name, new(api.QueryOptions).WithContext(ctx))
	if err != nil || node == nil {
		t.Fatalf("Node() = %v, %v, want the leader", node, err)
	}
	if got := node.Node.Meta["rack"]; got != "r1" {
		t.Errorf("node_meta of the leader has rack %q, want what Options.Config says", got)
	}
	if connects(ctx, leader, consultest.PortDNS) == nil {
		t.Error("the DNS port is open, want it off as Options.Config says")
	}
	if err = connects(ctx, leader, consultest.PortGRPC); err != nil {
		t.Errorf("the gRPC port is not open: %v", err)
	}
}

func TestAgent_Logs(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Servers: 1})
	ctx := soon(t)
	server := cluster.Servers[0]

	elected := false
	for _, line := range server.Logs() {
		if !strings.HasPrefix(line.Raw, "{") {
			continue
		}
		if line.Time.IsZero() || line.Level == "" || line.Module == "" || line.Message == "" {
			t.Errorf("line %q is parsed as %+v, want all fields", line.Raw, line)
		}
		elected = elected || strings.Contains(line.Message, "cluster leadership acquired")
	}
	if !elected {
		t.Error("no line about the election in the log")
	}

	mark := server.LogMark()
	nobody := &consultest.Agent{Name: "nobody", Addr: "127.0.0.0"}
	if err := cluster.Join(ctx, server, nobody); err == nil {
		t.Error("Join() with nobody succeeds, want an error")
	}
	eventually(t, "the failed join in the log", func() bool {
		return len(consultest.AtLeast(server.LogsSince(mark), "WARN")) > 0
	})
	if got := consultest.AtLeast(server.LogsSince(server.LogMark()), "ERROR"); len(got) > 0 {
		t.Errorf("LogsSince(LogMark()) = %v, want nothing yet", got)
	}
	if all, since := len(server.Logs()), len(server.LogsSince(mark)); since >= all {
		t.Errorf("LogsSince() has %d lines of %d, want fewer", since, all)
	}
}

func TestAgent_Connections(t *testing.T) {
	t.Parallel()
	server := consultest.Start(t, consultest.Options{Servers: 1}).Servers[0]
	count := func() int {
		n, err := server.Connections(consultest.PortDNS)
		if err != nil {
			t.Fatalf("Connections() error = %v", err)
		}
		return n
	}
	if got := count(); got != 0 {
		t.Errorf("Connections() = %d, want 0", got)
	}
	var conns []net.Conn
	for range 3 {
		conn, err := dial(t.Context(), server, consultest.PortDNS)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if got := count(); got != 3 {
		t.Errorf("Connections() = %d, want 3", got)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	eventually(t, "the connections to be closed", func() bool { return count() == 0 })
}

func TestAgent_KillAndRestart(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{})
	ctx := soon(t)
	old, err := cluster.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	pid, before := old.Pid(), len(old.Logs())

	if err = old.Kill(); err != nil {
		t.Fatalf("Kill() error = %v", err)
	}
	if old.Running() {
		t.Error("Running() = true after Kill")
	}
	if err = get(ctx, old); err == nil {
		t.Error("a killed agent answers")
	}
	if err = old.Kill(); err != nil {
		t.Errorf("the second Kill() error = %v, want nil", err)
	}
	leader, err := cluster.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if leader == old {
		t.Errorf("WaitLeader() = %s, which is dead", leader.Name)
	}

	if err := old.Restart(ctx); err != nil {
		t.Fatalf("Restart() error = %v", err)
	}
	if err := cluster.WaitMembers(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	if old.Pid() == pid {
		t.Error("Pid() is the same after Restart")
	}
	if got := len(old.Logs()); got <= before {
		t.Errorf("Logs() has %d lines after Restart, want those %d from before too", got, before)
	}
}

func TestAgent_StopAndContinue(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Servers: 1})
	ctx := soon(t)
	server := cluster.Servers[0]
	if err := server.Stop(); err != nil {
		t.Fatalf("Stop() error = %v", err)
	}
	if !server.Running() {
		t.Error("Running() = false after Stop")
	}
	if _, err := cluster.Leader(ctx); err == nil {
		t.Error("Leader() knows a leader although the only server is stopped")
	}
	if err := connects(ctx, server, consultest.PortHTTP); err != nil {
		t.Errorf("connect to a stopped agent: %v, want the kernel to accept", err)
	}
	briefly, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := get(briefly, server); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request to a stopped agent has error %v, want a timeout", err)
	}
	if err := server.Continue(); err != nil {
		t.Fatalf("Continue() error = %v", err)
	}
	if _, err := cluster.WaitLeader(ctx); err != nil {
		t.Error(err)
	}

	// What is stopped can be killed and restarted.
	if err := server.Stop(); err != nil {
		t.Fatalf("Stop() error = %v", err)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatalf("Restart() error = %v", err)
	}
	if _, err := cluster.WaitLeader(ctx); err != nil {
		t.Error(err)
	}
}

func TestAgent_Leave(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Servers: 3, Clients: 1})
	ctx := soon(t)
	client, server := cluster.Clients[0], cluster.Servers[0]
	var leaving sync.WaitGroup
	for _, agent := range []*consultest.Agent{client, server} {
		leaving.Go(func() {
			if err := agent.Leave(ctx); err != nil {
				t.Errorf("Leave() error = %v", err)
			}
			if agent.Running() {
				t.Errorf("Running() of %s = true after Leave", agent)
			}
		})
	}
	leaving.Wait()
	if err := client.Leave(ctx); err == nil {
		t.Error("Leave() of an agent that has left succeeds")
	}
	if err := cluster.WaitMembers(ctx, 2); err != nil {
		t.Fatal(err)
	}
	leader, err := cluster.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := leader.Client().Status().PeersWithQueryOptions(new(api.QueryOptions).WithContext(ctx))
	if err != nil || len(peers) != 2 {
		t.Errorf("Peers() = %v, %v, want 2", peers, err)
	}
	for _, agent := range []*consultest.Agent{client, server} {
		if err := agent.Restart(ctx); err != nil {
			t.Fatalf("Restart() error = %v", err)
		}
	}
	if err := cluster.WaitMembers(ctx, 4); err != nil {
		t.Error(err)
	}
}

func TestAgent_ConfigureAndCertify(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Servers: 1, TLS: true, CertLifetime: 48 * time.Hour})
	ctx := soon(t)
	server := cluster.Servers[0]
	// shown is how long the certificate of the API is still valid.
	shown := func() time.Duration {
		dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := dialer.DialContext(ctx, "tcp", server.HostPort(consultest.PortHTTPS))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return time.Until(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter)
	}
	for _, lifetime := range []time.Duration{100 * time.Hour, -time.Hour, 24 * time.Hour} {
		if err := server.Certify(lifetime); err != nil {
			t.Fatalf("Certify() error = %v", err)
		}
		eventually(t, fmt.Sprintf("a certificate for %s", lifetime), func() bool {
			left := shown()
			return left < lifetime && left > lifetime-2*time.Minute
		})
	}

	if err := server.Configure(map[string]any{"node_meta": map[string]any{"rack": "7"}}); err != nil {
		t.Fatalf("Configure() error = %v", err)
	}
	if err := server.Restart(ctx); err != nil {
		t.Fatalf("Restart() error = %v", err)
	}
	self, err := server.Client().Agent().Self()
	if err != nil || self["Meta"]["rack"] != "7" {
		t.Errorf("Self() has the meta %v, %v, want the rack", self["Meta"], err)
	}
}

func TestCluster_TransferLeadership(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Servers: 3})
	ctx := soon(t)
	for _, server := range append(cluster.Servers, cluster.Servers[2]) {
		if err := cluster.TransferLeadership(ctx, server); err != nil {
			t.Fatalf("TransferLeadership() error = %v", err)
		}
		if leader, err := cluster.Leader(ctx); err != nil || leader != server {
			t.Errorf("Leader() = %v, %v, want %s", leader, err, server)
		}
	}
}

func TestStart_Secured(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{
		Servers: 3, Clients: 1,
		TLS: true, CertLifetime: 48 * time.Hour,
		GossipKey: "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=",
		ACL:       true,
	})
	ctx := soon(t)
	client := cluster.Clients[0]
	if want := "https://" + client.Addr + ":8501"; client.URL() != want {
		t.Errorf("URL() = %q, want %q", client.URL(), want)
	}
	self, err := client.Client().Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	if got := self["Stats"]["serf_lan"].(map[string]any)["encrypted"]; got != "true" {
		t.Errorf("encrypted = %v, want true", got)
	}
	if connects(ctx, client, consultest.PortHTTP) == nil {
		t.Error("the HTTP port is open, want HTTPS only")
	}
	checkCertificates(t, cluster)

	secret, err := cluster.NewToken(ctx, `node_prefix "" { policy = "read" }`)
	if err != nil {
		t.Fatalf("NewToken() error = %v", err)
	}
	for _, agent := range cluster.Agents() {
		query := (&api.QueryOptions{Token: secret, AllowStale: true}).WithContext(ctx)
		nodes, _, err := agent.Client().Catalog().Nodes(query)
		if err != nil || len(nodes) != 4 {
			t.Errorf("%s: Nodes() with the token = %d nodes, %v, want 4", agent.Name, len(nodes), err)
		}
		write := (&api.WriteOptions{Token: secret}).WithContext(ctx)
		_, err = agent.Client().KV().Put(&api.KVPair{Key: "a"}, write)
		var status api.StatusError
		if !errors.As(err, &status) || status.Code != http.StatusForbidden {
			t.Errorf("%s: Put() with the token has error %v, want 403", agent.Name, err)
		}
		if _, err := agent.Client().KV().Put(&api.KVPair{Key: "a"}, new(api.WriteOptions).WithContext(ctx)); err != nil {
			t.Errorf("%s: Put() with the management token: %v", agent.Name, err)
		}
	}
}

// checkCertificates looks at what a server shows and demands on its HTTPS port.
func checkCertificates(t *testing.T, cluster *consultest.Cluster) {
	t.Helper()
	server := cluster.Servers[1]
	dialer := tls.Dialer{Config: cluster.TLSConfig()}
	conn, err := dialer.DialContext(soon(t), "tcp", server.HostPort(consultest.PortHTTPS))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cert := conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
	for _, name := range []string{"server.dc1.consul", "server-2.server.dc1.consul", "localhost", server.Addr} {
		if err = cert.VerifyHostname(name); err != nil {
			t.Errorf("the certificate of %s: %v", server.Name, err)
		}
	}
	if left := time.Until(cert.NotAfter); left < 47*time.Hour || left > 48*time.Hour {
		t.Errorf("the certificate is valid for %s more, want nearly 48h", left)
	}

	anonymous := cluster.TLSConfig()
	anonymous.Certificates = nil
	httpClient := &http.Client{Transport: &http.Transport{TLSClientConfig: anonymous, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(soon(t), http.MethodGet, server.URL()+"/v1/status/leader", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := httpClient.Do(request); err == nil {
		_ = response.Body.Close()
		t.Error("the API answers without a client certificate")
	}
	for _, file := range []string{cluster.CACert, cluster.ClientCert, cluster.ClientKey} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestStart_BootstrapAlone(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Servers: 2, Clients: 1, Bootstrap: consultest.BootstrapAlone})
	ctx := soon(t)
	one, two := cluster.Servers[0], cluster.Servers[1]
	if err := cluster.Join(ctx, two, one); err != nil {
		t.Fatalf("Join() error = %v", err)
	}
	if err := cluster.WaitMembers(ctx, 3); err != nil {
		t.Fatal(err)
	}
	eventually(t, "each server to refuse the other", func() bool {
		refusals := 0
		for _, server := range cluster.Servers {
			for _, line := range consultest.AtLeast(server.Logs(), "ERROR") {
				if strings.Contains(line.Message, "bootstrap mode") {
					refusals++
					break
				}
			}
		}
		return refusals == 2
	})
	for _, server := range cluster.Servers {
		leader, err := server.Client().Status().LeaderWithQueryOptions(new(api.QueryOptions).WithContext(ctx))
		if want := server.HostPort(consultest.PortServer); err != nil || leader != want {
			t.Errorf("the leader according to %s is %q, %v, want %q", server.Name, leader, err, want)
		}
	}
	if leader, err := cluster.Leader(ctx); err == nil {
		t.Errorf("Leader() = %s, want an error as there are two", leader.Name)
	}
}

func TestStart_SideBySide(t *testing.T) {
	t.Parallel()
	one := consultest.Start(t, consultest.Options{Servers: 1})
	two := consultest.Start(t, consultest.Options{Servers: 1, Clients: 1, Datacenter: "dc2"})
	ctx := soon(t)
	if one.Servers[0].Addr == two.Servers[0].Addr {
		t.Fatalf("both clusters use %s", one.Servers[0].Addr)
	}
	for cluster, want := range map[*consultest.Cluster]int{one: 1, two: 2} {
		if err := cluster.WaitMembers(ctx, want); err != nil {
			t.Error(err)
		}
	}
	dcs, err := two.Clients[0].Client().Catalog().Datacenters()
	if err != nil || len(dcs) != 1 || dcs[0] != "dc2" {
		t.Errorf("Datacenters() = %v, %v, want dc2", dcs, err)
	}
}

// TestStart_NoServers starts a client that nobody leads.
func TestStart_NoServers(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{Clients: 1})
	if leader, err := cluster.Leader(soon(t)); err == nil {
		t.Errorf("Leader() = %s, want an error", leader.Name)
	}
}

func TestCluster_Close(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	cluster, err := consultest.New(ctx, consultest.Options{Servers: 1, TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	server := cluster.Servers[0]
	pid, dir := server.Pid(), filepath.Dir(filepath.Dir(cluster.CACert))
	if prefix := fmt.Sprintf("consultest-%d-", os.Getpid()); !strings.HasPrefix(filepath.Base(dir), prefix) {
		t.Fatalf("the cluster's folder is %s, want its name to begin with %s", dir, prefix)
	}
	for range 2 {
		if err := cluster.Close(); err != nil {
			t.Fatalf("Close() error = %v", err)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cluster's folder is left behind: %v", err)
	}
	if server.Running() || alive(t, pid) {
		t.Errorf("process %d outlives Close", pid)
	}
	if err := server.Restart(ctx); err == nil {
		t.Error("Restart() after Close succeeds")
	}
}

// TestNew_Fails covers what a caller can get wrong. The leak check of TestMain
// sees to it that nothing is left running.
func TestNew_Fails(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		opts consultest.Options
		want string
	}{
		{
			"Consul refuses its configuration", soon(t),
			consultest.Options{Servers: 1, Config: map[string]any{"nonsense": true}},
			"nonsense",
		},
		{
			"no API", soon(t),
			consultest.Options{Servers: 1, Config: map[string]any{"ports": map[string]any{"http": -1}}},
			"needs an HTTP",
		},
		{
			"a configuration that is no JSON", soon(t),
			consultest.Options{Servers: 1, Config: map[string]any{"a": make(chan int)}},
			"Options.Config",
		},
		{"too many servers", soon(t), consultest.Options{Servers: 100}, "not 100"},
		{"canceled", canceled, consultest.Options{Servers: 1}, "canceled"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cluster, err := consultest.New(test.ctx, test.opts)
			if err == nil {
				_ = cluster.Close()
				t.Fatal("New() succeeds, want an error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("New() error = %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestNew_NoBinary is not parallel, as it changes the environment.
func TestNew_NoBinary(t *testing.T) {
	const variable = "CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL"
	t.Setenv(variable, filepath.Join(t.TempDir(), "consul"))
	cluster, err := consultest.New(t.Context(), consultest.Options{Servers: 1})
	if err == nil {
		_ = cluster.Close()
		t.Fatal("New() without a binary succeeds")
	}
	if !strings.Contains(err.Error(), variable) {
		t.Errorf("New() error = %v, want what package toolbox says", err)
	}
}

// TestNew_DiesWithItsProcess runs this test binary as a program that starts a cluster and ends without closing it.
func TestNew_DiesWithItsProcess(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"panic", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(soon(t), os.Args[0])
			cmd.Env = append(os.Environ(), helperVariable+"="+how)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err = cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(stdout).ReadString('\n')
			if err != nil {
				t.Fatalf("read from the helper: %v", err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				t.Fatalf("the helper says %q, want the id of a process", line)
			}
			if how == "kill" {
				if !alive(t, pid) {
					t.Errorf("process %d is dead before its parent", pid)
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the helper ends well, want it to die")
			}
			eventually(t, fmt.Sprintf("process %d to be gone", pid), func() bool { return !alive(t, pid) })

			// Its folder is still there, until the next cluster is started.
			pattern := filepath.Join(os.TempDir(), fmt.Sprintf("consultest-%d-*", cmd.Process.Pid))
			consultest.Start(t, consultest.Options{Servers: 1})
			if dirs, err := filepath.Glob(pattern); err != nil || len(dirs) > 0 {
				t.Errorf("%v is left behind (%v)", dirs, err)
			}
		})
	}
}

// alive says whether there is a process of this id that is not a zombie. A
// process whose parent is dead can stay a zombie where nobody reaps orphans.
func alive(t *testing.T, pid int) bool {
	t.Helper()
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(string(status), "State:\tZ")
}

// TestNew_Absent starts two of three servers, which wait for the third.
func TestNew_Absent(t *testing.T) {
	t.Parallel()
	cluster := consultest.Start(t, consultest.Options{
		Servers: 3, Absent: 1,
		AgentConfig: func(role string, i int) map[string]any {
			return map[string]any{"node_meta": map[string]string{"agent": fmt.Sprintf("%s %d", role, i)}}
		},
	})
	ctx := soon(t)
	absent := cluster.Servers[2]
	if absent.Running() || !cluster.Servers[1].Running() {
		t.Error("the last server is running, or the second is not; want it the other way round")
	}
	if _, err := cluster.Leader(ctx); err == nil {
		t.Error("there is a leader before all servers have been started")
	}
	if err := absent.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	if err := cluster.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	node, _, err := cluster.Servers[0].Client().Catalog().Node(absent.Name, new(api.QueryOptions).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	if got := node.Node.Meta["agent"]; got != "server 3" {
		t.Errorf("node_meta is %q, want that of Options.AgentConfig for server 3", got)
	}
}

func TestCluster_JoinWANAndPeer(t *testing.T) {
	t.Parallel()
	here := consultest.Start(t, consultest.Options{Servers: 2})
	there := consultest.Start(t, consultest.Options{Servers: 1, Datacenter: "dc2"})
	ctx := soon(t)
	if err := here.JoinWAN(ctx, there); err != nil {
		t.Fatal(err)
	}
	remote := new(api.QueryOptions).WithContext(ctx)
	remote.Datacenter = "dc2"
	if nodes, _, err := here.Servers[1].Client().Catalog().Nodes(remote); err != nil || len(nodes) != 1 {
		t.Errorf("the second server reads %v, %v of the other datacenter, want its one node", nodes, err)
	}
	if err := here.Peer(ctx, there); err != nil {
		t.Fatal(err)
	}
	conn, err := dial(ctx, here.Servers[0], consultest.PortDNS)
	if err != nil {
		t.Fatal(err)
	}
	from, _, _ := net.SplitHostPort(conn.LocalAddr().String())
	// A table that changes while it is read can lack an entry.
	eventually(t, "ConnectionsFrom() to count a connection", func() bool {
		n, err := here.Servers[0].ConnectionsFrom(from)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	})
	_ = conn.Close()
}
