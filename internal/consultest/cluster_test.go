// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package consultest

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
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// helperVariable makes the test binary the helper of TestNew_DiesWithItsProcess instead of running tests.
const helperVariable = "CONSULTEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		helper()
	}
	goleak.VerifyTestMain(m)
}

// helper starts a cluster, prints the id of its process, and never closes it.
func helper() {
	cluster, err := New(context.Background(), Options{Servers: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(cluster.Servers[0].Pid())
	select {}
}

// soon returns a context for a step of a test.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	must.Do(t, Poll(soon(t), what, func(context.Context) error {
		if !holds() {
			return errors.New("it is not so")
		}
		return nil
	}))
}

// get returns the leader that the agent names by HTTP.
func get(ctx context.Context, agent *Agent) (leader string, err error) {
	return agent.Client().Status().LeaderWithQueryOptions(read(ctx))
}

func connects(t *testing.T, agent *Agent, port int) bool {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(soon(t), "tcp", agent.HostPort(port))
	return err == nil && conn.Close() == nil
}

// A cluster gets all that its options say, is broken in each way, recovers, and leaves nothing behind.
func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := Start(t, Options{
		Servers: 3, Clients: 1, Absent: 1,
		NodeName: func(role string, i int) string { return fmt.Sprintf("%s%d-of-test", role[:1], i) },
		Config:   map[string]any{"ports": map[string]int{"dns": -1}, "node_meta": map[string]string{"rack": "r1"}},
		AgentConfig: func(role string, i int) map[string]any {
			return map[string]any{"node_meta": map[string]string{"agent": fmt.Sprintf("%s %d", role, i)}}
		},
	})
	checkAbsent(t, cluster)
	checkOptions(t, cluster)
	checkLogs(t, cluster)
	for _, server := range []*Agent{cluster.Servers[1], cluster.Servers[0], cluster.Servers[0]} {
		must.Do(t, cluster.TransferLeadership(soon(t), server))
		if leader, err := cluster.Leader(soon(t)); err != nil || leader != server {
			t.Errorf("Leader() = %v, %v; want %s", leader, err, server)
		}
	}
	checkLoad(t, cluster)
	must.Do(t, cluster.WaitHealthy(soon(t)))
	checkKill(t, cluster, must.Get(cluster.WaitLeader(soon(t)))(t))
	checkStop(t, cluster, cluster.Servers[1])
	checkLeave(t, cluster)
	checkClose(t, cluster)
}

// checkAbsent starts the server that the others wait for.
func checkAbsent(t *testing.T, cluster *Cluster) {
	t.Helper()
	absent := cluster.Servers[2]
	if absent.Running() || absent.Pid() != 0 || !cluster.Servers[1].Running() {
		t.Error("the last server is running, or the second is not; want it the other way round")
	}
	if leader, err := cluster.Leader(soon(t)); err == nil {
		t.Errorf("%s leads before all servers have been started", leader)
	}
	must.Do(t, absent.Restart(soon(t)))
	must.Get(cluster.WaitLeader(soon(t)))(t)
	must.Do(t, cluster.WaitMembers(soon(t), 4))
	must.Do(t, cluster.WaitSynced(soon(t)))
}

func checkOptions(t *testing.T, cluster *Cluster) {
	t.Helper()
	client := cluster.Clients[0]
	if want := "http://" + client.Addr + ":8500"; client.URL() != want || !strings.HasSuffix(client.Addr, ".101") {
		t.Errorf("the client's URL is %s; want %s and an address that ends in .101", client.URL(), want)
	}
	if connects(t, client, PortDNS) || !connects(t, client, PortGRPC) {
		t.Error("the DNS port is open or the gRPC port is not; want it the other way round")
	}
	got := make(map[string]string)
	for _, agent := range cluster.Agents() {
		node, _, err := client.Client().Catalog().Node(agent.Name, read(soon(t)))
		must.Do(t, err)
		got[agent.Name] = node.Node.Meta["rack"] + " " + node.Node.Meta["agent"]
	}
	want := map[string]string{
		"s1-of-test": "r1 server 1", "s2-of-test": "r1 server 2", "s3-of-test": "r1 server 3", "c1-of-test": "r1 client 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names and meta of the nodes (-want +got):\n%s", diff)
	}
}

// checkLogs reads an agent's log, and what it logs for a reason.
func checkLogs(t *testing.T, cluster *Cluster) {
	t.Helper()
	server := cluster.Servers[0]
	started := false
	for _, line := range server.LogsSince(0) {
		if strings.HasPrefix(line.Raw, "{") && (line.Time.IsZero() || line.Level == "" || line.Message == "") {
			t.Errorf("line %q is parsed as %+v; want all fields", line.Raw, line)
		}
		started = started || line.Module == "agent.server.raft"
	}
	if !started {
		t.Error("no line about Raft in the log")
	}
	mark := server.LogMark()
	if err := cluster.Join(soon(t), server, &Agent{Name: "nobody", Addr: "127.0.0.0"}); err == nil {
		t.Error("Join() with nobody succeeds; want an error")
	}
	eventually(t, "the failed join in the log", func() bool {
		return len(AtLeast(server.LogsSince(mark), "WARN")) > 0
	})
	if all, since := len(server.LogsSince(0)), len(server.LogsSince(mark)); since >= all {
		t.Errorf("LogsSince() has %d lines of %d; want fewer", since, all)
	}
	if got := AtLeast(server.LogsSince(server.LogMark()), "ERROR"); len(got) > 0 {
		t.Errorf("LogsSince(LogMark()) = %v; want nothing yet", got)
	}
}

func checkKill(t *testing.T, cluster *Cluster, old *Agent) {
	t.Helper()
	pid, before := old.Pid(), len(old.LogsSince(0))
	for range 2 {
		must.Do(t, old.Kill())
	}
	if _, err := get(soon(t), old); err == nil || old.Running() {
		t.Errorf("a killed agent responds (%v), or Running() is true", err)
	}
	leader := must.Get(cluster.WaitLeader(soon(t)))(t)
	if leader == old {
		t.Errorf("WaitLeader() = %s, which is dead", leader)
	}
	must.Do(t, old.Restart(soon(t)))
	must.Do(t, cluster.WaitMembers(soon(t), 4))
	must.Do(t, cluster.WaitHealthy(soon(t)))
	if old.Pid() == pid || len(old.LogsSince(0)) <= before {
		t.Errorf("process %d has logged %d lines; want another process than %d, and more lines than %d",
			old.Pid(), len(old.LogsSince(0)), pid, before)
	}
}

func checkStop(t *testing.T, cluster *Cluster, server *Agent) {
	t.Helper()
	for _, heal := range []func() error{server.Continue, func() error { return server.Restart(soon(t)) }} {
		must.Do(t, server.Stop())
		if !server.Running() || !connects(t, server, PortHTTP) {
			t.Error("a stopped server does not run, or the kernel does not accept connections for it")
		}
		briefly, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := get(briefly, server); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request to a stopped server has error %v; want a timeout", err)
		}
		must.Do(t, heal())
		must.Do(t, cluster.WaitMembers(soon(t), 4))
		must.Do(t, cluster.WaitHealthy(soon(t)))
	}
}

func checkLeave(t *testing.T, cluster *Cluster) {
	t.Helper()
	leavers := []*Agent{cluster.Clients[0], cluster.Servers[0]}
	var leaving sync.WaitGroup
	for _, agent := range leavers {
		leaving.Go(func() {
			if err := agent.Leave(soon(t)); err != nil || agent.Running() {
				t.Errorf("Leave() error = %v, and Running() = %t", err, agent.Running())
			}
		})
	}
	leaving.Wait()
	if err := leavers[0].Leave(soon(t)); err == nil {
		t.Error("Leave() of an agent that has left succeeds")
	}
	must.Do(t, cluster.WaitMembers(soon(t), 2))
	leader := must.Get(cluster.WaitLeader(soon(t)))(t)
	if peers, err := leader.Client().Status().PeersWithQueryOptions(read(soon(t))); err != nil || len(peers) != 2 {
		t.Errorf("the Raft peers are %v, %v; want 2", peers, err)
	}
	for _, agent := range leavers {
		must.Do(t, agent.Restart(soon(t)))
	}
	must.Do(t, cluster.WaitMembers(soon(t), 4))
}

// checkClose closes the cluster, of which nothing is left.
func checkClose(t *testing.T, cluster *Cluster) {
	t.Helper()
	server := cluster.Servers[0]
	for range 2 {
		must.Do(t, cluster.Close())
	}
	if _, err := os.Stat(cluster.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cluster's folder is left behind: %v", err)
	}
	if server.Running() || processAlive(server.Pid()) {
		t.Errorf("process %d is still there after Close", server.Pid())
	}
	if err := server.Restart(soon(t)); err == nil {
		t.Error("Restart() after Close succeeds")
	}
}

func TestStart_Secured(t *testing.T) {
	t.Parallel()
	cluster := Start(t, Options{
		Servers: 1, Clients: 1, TLS: true, CertLifetime: 48 * time.Hour, ACL: true,
		GossipKey: "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=",
	})
	server, client := cluster.Servers[0], cluster.Clients[0]
	if want := "https://" + client.Addr + ":8501"; client.URL() != want || connects(t, client, PortHTTP) {
		t.Errorf("the client's URL is %s; want %s and no open HTTP port", client.URL(), want)
	}
	stats := must.Get(client.Client().Agent().Self())(t)["Stats"]
	if got := stats["serf_lan"].(map[string]any)["encrypted"]; got != "true" {
		t.Errorf("encrypted = %v; want true", got)
	}

	secret := must.Get(cluster.NewToken(soon(t), `node_prefix "" { policy = "read" }`))(t)
	for _, agent := range cluster.Agents() {
		query := stale(soon(t))
		query.Token = secret
		if nodes, _, err := agent.Client().Catalog().Nodes(query); err != nil || len(nodes) != 2 {
			t.Errorf("%s: Nodes() with the token = %d nodes, %v; want 2", agent, len(nodes), err)
		}
		options := write(soon(t))
		must.Get(agent.Client().KV().Put(&api.KVPair{Key: "a"}, options))(t)
		options.Token = secret
		_, err := agent.Client().KV().Put(&api.KVPair{Key: "a"}, options)
		if status, _ := errors.AsType[api.StatusError](err); status.Code != http.StatusForbidden {
			t.Errorf("%s: Put() with the token has error %v; want 403", agent, err)
		}
	}

	conn := dialTLS(t, server, cluster.TLSConfig())
	for _, name := range []string{"server.dc1.consul", "server-1.server.dc1.consul", "localhost", server.Addr} {
		must.Do(t, conn.ConnectionState().PeerCertificates[0].VerifyHostname(name))
	}
	anonymous := cluster.TLSConfig()
	anonymous.Certificates = nil
	_, err := dialTLS(t, server, anonymous).Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a client certificate: %v; want that one is required", err)
	}
	// The agent was started with the first one.
	for i, lifetime := range []time.Duration{48 * time.Hour, 100 * time.Hour, -time.Hour} {
		if i > 0 {
			must.Do(t, server.Certify(lifetime))
		}
		eventually(t, fmt.Sprintf("a certificate for %s", lifetime), func() bool {
			conn := dialTLS(t, server, &tls.Config{InsecureSkipVerify: true})
			left := time.Until(conn.ConnectionState().PeerCertificates[0].NotAfter)
			return left < lifetime && left > lifetime-2*time.Minute
		})
	}
	must.Do(t, server.Certify(time.Hour))
	must.Do(t, server.Configure(map[string]any{"node_meta": map[string]any{"rack": "7"}}))
	must.Do(t, server.Restart(soon(t)))
	must.Get(cluster.WaitLeader(soon(t)))(t)
	if meta := must.Get(server.Client().Agent().Self())(t)["Meta"]; meta["rack"] != "7" {
		t.Errorf("Self() has the meta %v; want the rack", meta)
	}
}

// dialTLS connects to the agent's HTTPS port until the test ends.
func dialTLS(t *testing.T, agent *Agent, config *tls.Config) *tls.Conn {
	t.Helper()
	conn := must.Get((&tls.Dialer{Config: config}).DialContext(soon(t), "tcp", agent.HostPort(PortHTTPS)))(t)
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*tls.Conn)
}

func TestStart_BootstrapAlone(t *testing.T) {
	t.Parallel()
	cluster := Start(t, Options{Servers: 2, Clients: 1, Bootstrap: BootstrapAlone})
	must.Do(t, cluster.Join(soon(t), cluster.Servers[1], cluster.Servers[0]))
	must.Do(t, cluster.WaitMembers(soon(t), 3))
	for _, server := range cluster.Servers {
		if leader, err := get(soon(t), server); err != nil || leader != server.HostPort(PortServer) {
			t.Errorf("%s names %q as the leader, %v; want itself", server, leader, err)
		}
	}
	if leader, err := cluster.Leader(soon(t)); err == nil {
		t.Errorf("Leader() = %s; want an error because there are two", leader)
	}
}

// What a caller can get wrong. The leak check of TestMain sees to it that nothing is left running.
func TestNew_Fails(t *testing.T) {
	expect := func(ctx context.Context, config map[string]any, want string) {
		t.Helper()
		cluster, err := New(ctx, Options{Servers: 1, Config: config})
		if err == nil {
			err = cluster.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New() error = %v; want one with %q", err, want)
		}
	}
	expect(soon(t), map[string]any{"nonsense": true}, "nonsense")
	expect(soon(t), map[string]any{"ports": map[string]any{"http": -1}}, "needs an HTTP")
	expect(soon(t), map[string]any{"a": make(chan int)}, "configure server-1") // No JSON.
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expect(canceled, nil, "canceled")
	const binary = "CONSUL_CLUSTER_EXPORTER_TOOL_CONSUL" // What package toolbox reads.
	t.Setenv(binary, filepath.Join(t.TempDir(), "consul"))
	expect(soon(t), nil, binary)
}

// A program that is killed takes its cluster with it. The files are removed by the next one.
func TestNew_DiesWithItsProcess(t *testing.T) {
	t.Parallel()
	WaitTurn(t)
	cmd := exec.CommandContext(soon(t), os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"=1")
	stdout := must.Get(cmd.StdoutPipe())(t)
	must.Do(t, cmd.Start())
	line := must.Get(bufio.NewReader(stdout).ReadString('\n'))(t)
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	if !processAlive(pid) {
		t.Fatalf("the helper prints %q; want the id of a process", line)
	}
	must.Do(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, fmt.Sprintf("process %d to be gone", pid), func() bool { return !processAlive(pid) })

	dir := must.Get(MakeTempDir("consultest-"))(t)
	must.Do(t, os.Remove(dir))
	pattern := filepath.Join(os.TempDir(), fmt.Sprintf("consultest-%d-*", cmd.Process.Pid))
	if dirs := must.Get(filepath.Glob(pattern))(t); len(dirs) > 0 {
		t.Errorf("%v is left behind", dirs)
	}
}
