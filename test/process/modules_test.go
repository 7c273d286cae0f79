// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// probePage is the path of a probe.
func probePage(module, target string) string {
	return "/probe?" + url.Values{"module": {module}, "target": {target}}.Encode()
}

// probed are the metrics of a probe.
func probed(t *testing.T, e *harness.Exporter, module, target string) harness.Samples {
	t.Helper()
	return harness.ParseSamples(t, e.Page(t, probePage(module, target), http.StatusOK))
}

// replace puts a file in the place of another one, as those do who rotate secrets.
func replace(t *testing.T, path, content string) {
	t.Helper()
	must.Do(t, os.WriteFile(path+".new", []byte(content), 0o600))
	must.Do(t, os.Rename(path+".new", path))
}

// agentTarget is the target of an agent.
func agentTarget(a *consultest.Agent) string { return a.HostPort(consultest.PortHTTP) }

// network is that of a cluster.
func network(c *consultest.Cluster) string {
	return c.Servers[0].Addr[:strings.LastIndex(c.Servers[0].Addr, ".")] + ".0/24"
}

// Two clusters that trust different tokens, watched by one exporter, and none of their secrets anywhere. Cluster two is
// that of /metrics, too, to see that the two do not mix.
func twoClusters(t *testing.T, two *consultest.Cluster, tokenTwo string) {
	t.Helper()
	gossipKey := base64.StdEncoding.EncodeToString([]byte("a gossip key that is 32 bytes !!"))
	one := consultest.Start(t, consultest.Options{Servers: 1, ACL: true, GossipKey: gossipKey})
	tokenOne := must.Get(one.NewToken(t.Context(), harness.ReadmePolicy(t)))(t)
	const password = "the-password-of-a-proxy"
	// Module wrong has all the secrets there can be, and none of the tokens that cluster one trusts.
	config := fmt.Sprintf(`modules:
  one: {token_file: one.token, targets: [%s:8500]}
  two: {token_file: two.token, targets: [%s:8500]}
  keys: {token_file: one.token, serf: {encrypt_key_file: keys}, targets: [%[1]s]}
  wrong: {token_file: two.token, serf: {encrypt_key_file: keys}, targets: [%[1]s], basic_auth: AUTH}
`, network(one), network(two))
	config = strings.Replace(config, "AUTH", "{username: u, password_file: password}", 1)
	path := filepath.Join(harness.WriteFiles(t, map[string]string{
		"config.yml": config, "keys": gossipKey + "\n", "password": password, "one.token": tokenOne, "two.token": tokenTwo,
	}), "config.yml")
	e := harness.StartExporter(t, []string{"CONSUL_HTTP_TOKEN=" + tokenTwo}, "--consul.server="+two.Servers[0].URL(),
		"--config.file="+path, "--web.enable-lifecycle", "--log.level=debug")
	var seen strings.Builder // All that anyone can see.
	probe := func(module string, c *consultest.Cluster) harness.Samples {
		t.Helper()
		body := e.Page(t, probePage(module, agentTarget(c.Servers[0])), http.StatusOK)
		seen.WriteString(body)
		return harness.ParseSamples(t, body)
	}
	expectCluster := func(module string, c *consultest.Cluster, scrapes float64) {
		t.Helper()
		servers := float64(len(c.Servers))
		want := harness.Samples{
			"probe_success": 1, "consul_up": 1, "consul_cluster_leaders": 1,
			"consul_raft_peers": servers, "consul_serf_lan_members": servers, "consul_cluster_voters": servers,
			harness.AnsweringVoters: servers, `consul_cluster_servers{state="alive"}`: servers,
			"consul_exporter_scrapes_total":                                       scrapes,
			harness.PortSeries("up", c.Servers[0]):                                1,
			harness.PortSeries("probes_total", c.Servers[0]):                      scrapes,
			harness.ServerSeries("has_leader", c.Servers[0]):                      1,
			fmt.Sprintf("consul_server_raft_peers{server=%q}", c.Servers[0].Name): servers,
		}
		for _, name := range []string{"agent", "members", "ports", "raft"} {
			want[fmt.Sprintf("consul_exporter_collector_success{collector=%q}", name)] = 1
			want[fmt.Sprintf("consul_exporter_collector_supported{collector=%q}", name)] = 1
		}
		s := probe(module, c)
		s.Expect(t, want)
		if s["probe_duration_seconds"] <= 0 {
			t.Errorf("probe_duration_seconds = %v, want more than 0", s["probe_duration_seconds"])
		}
		s.ExpectNone(t, "go_", "process_", "promhttp_", "consul_exporter_build_info", "consul_exporter_config_")
	}
	for scrapes := range 2 {
		expectCluster("one", one, float64(scrapes+1))
		expectCluster("two", two, float64(scrapes+1))
	}
	expectCluster("keys", one, 1)
	// Cluster one refuses the token of cluster two.
	probe("wrong", one).Expect(t, harness.Samples{
		"probe_success": 1,
		`consul_exporter_collector_supported{collector="members"}`: 0,
		`consul_exporter_collector_success{collector="ports"}`:     1,
	})
	metrics := e.Page(t, "/metrics", http.StatusOK)
	harness.ParseSamples(t, metrics).Expect(t, harness.Samples{
		"consul_raft_peers": 3, "consul_exporter_scrapes_total": 1, "consul_exporter_config_last_reload_successful": 1,
	})

	// A dead agent: the servers that it named are still known, because the exporter is kept.
	must.Do(t, one.Servers[0].Kill())
	probe("one", one).Expect(t, harness.Samples{
		"probe_success": 0, "consul_up": 0, "consul_exporter_scrapes_total": 3, harness.PortSeries("up", one.Servers[0]): 0,
	})

	// Everything that says no, and the pages without metrics.
	seen.WriteString(metrics + e.Page(t, "/", http.StatusOK))
	target := agentTarget(one.Servers[0])
	for _, refused := range []string{
		probePage("three", target), probePage("two", target), probePage(tokenOne, target),
		probePage("one", "http://"+target+"/?token="+tokenOne),
	} {
		seen.WriteString(e.Page(t, refused, http.StatusBadRequest))
	}
	seen.WriteString(e.Page(t, "/-/reload", http.StatusMethodNotAllowed))
	check := func(content string, wantCode int) {
		t.Helper()
		must.Do(t, os.WriteFile(path, []byte(content), 0o600))
		code, stdout, stderr := harness.RunProgram(t, "--config.check", "--config.file="+path, "--log.level=debug")
		if code != wantCode {
			t.Errorf("--config.check: exit code %d, want %d: %s%s", code, wantCode, stdout, stderr)
		}
		seen.WriteString(stdout + stderr)
	}
	check(config, 0)
	// Secrets in the places of each other and of their files.
	const keys = "encrypt_key_file: keys"
	for _, swap := range [][2]string{
		{"one.token", "keys\n    nonsense: " + tokenOne},
		{"{" + keys + "}", gossipKey},
		{keys, "encrypt_key_file: password"},
		{keys, "encrypt_key_file: password, key: " + gossipKey},
		{"two.token", "config.yml"},
	} {
		check(strings.ReplaceAll(config, swap[0], swap[1]), 1)
		seen.WriteString(e.Reload(t, http.StatusInternalServerError))
	}
	seen.WriteString(e.Page(t, "/metrics", http.StatusOK))
	must.Do(t, e.Stop())
	seen.WriteString(e.Log.String())
	for _, secret := range []string{gossipKey, password, tokenOne, tokenTwo} {
		if strings.Contains(seen.String(), secret) || strings.Contains(seen.String(), url.QueryEscape(secret)) {
			t.Errorf("secret %q is to be seen in\n%s", secret, seen.String())
		}
	}
	for _, expected := range []string{
		"configuration file is not loaded", "modules.wrong.serf.encrypt_key_file", "configuration is good",
	} {
		if !strings.Contains(seen.String(), expected) {
			t.Errorf("%q is not among what can be seen; the test does not look at everything", expected)
		}
	}
}

// The modules of docs/deployment.md can be used as they are.
func TestModules_Deployment(t *testing.T) {
	blocks := harness.ReadDocument(t, "docs/deployment.md").Blocks
	i := slices.IndexFunc(blocks, func(b harness.CodeBlock) bool { return strings.HasPrefix(b.Text, "modules:") })
	if i < 0 {
		t.Fatal("docs/deployment.md has no modules in YAML")
	}
	folder := t.TempDir()
	must.Do(t, os.CopyFS(folder, fstest.MapFS{
		"config.yml":             {Data: []byte(blocks[i].Text)},
		"production/token":       {Data: []byte("token")},
		"production/gossip-keys": {Data: []byte(base64.StdEncoding.EncodeToString(make([]byte, 32)))},
	}))
	code, _, stderr := harness.RunProgram(t, "--config.check", "--config.file="+filepath.Join(folder, "config.yml"))
	if code != 0 {
		t.Errorf("the modules of docs/deployment.md are not good: %s", stderr)
	}
}

// tripwire is a host on which all of Consul's ports listen, and that counts who comes.
type tripwire struct {
	addr    string
	touches atomic.Int32
}

func startTripwire(t *testing.T) *tripwire {
	t.Helper()
	w := &tripwire{}
	for w.addr == "" {
		// 127.0.y.z is not used by consultest.
		addr := fmt.Sprintf("127.0.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250))
		if listener, err := net.Listen("tcp", net.JoinHostPort(addr, "8300")); err == nil {
			listener.Close()
			w.addr = addr
		}
	}
	for _, port := range []int{
		consultest.PortServer, consultest.PortSerfLAN, consultest.PortSerfWAN, consultest.PortHTTP, consultest.PortHTTPS,
		consultest.PortGRPC, consultest.PortGRPCTLS, consultest.PortDNS,
	} {
		listenOn(t, net.JoinHostPort(w.addr, strconv.Itoa(port)),
			func(net.Conn) { w.touches.Add(1) }, func(net.PacketConn, net.Addr) { w.touches.Add(1) })
	}
	return w
}

// A host that is not on a module's list hears nothing, however it is written. TestProbe_Refused has the other refusals.
func TestModules_TargetNotAllowed(t *testing.T) {
	wire := startTripwire(t)
	folder := harness.WriteFiles(t, map[string]string{
		"token": "hush-hush", "config.yml": "modules: {m: {token_file: token, targets: " +
			"[10.0.0.0/8, '" + wire.addr + ":9999', localhost, '[::1]']}}",
	})
	e := harness.StartExporter(t, nil, "--config.file="+filepath.Join(folder, "config.yml"))
	for _, target := range []string{
		wire.addr + ":8500", wire.addr, "[::ffff:" + wire.addr + "]:8500", wire.addr + ":8300",
		"http://" + wire.addr + ":8500", wire.addr + ".:8500",
	} {
		body := e.Page(t, probePage("m", target), http.StatusBadRequest)
		if strings.Count(body, "\n") != 1 || strings.Contains(body, wire.addr) {
			t.Errorf("%s: got %q, want one sentence that does not repeat the target", target, body)
		}
	}
	if n := wire.touches.Load(); n != 0 {
		t.Errorf("the host that is not allowed was talked to %d times, want never", n)
	}
}

// startRogue starts an agent's HTTP API that calls another host its server.
func startRogue(t *testing.T, addr, victim string) {
	t.Helper()
	fill := strings.NewReplacer("ROGUE", addr, "VICTIM", victim).Replace
	rogue := &hostileConsul{right: map[string]string{
		"/v1/agent/self": fill(`{"Config":{"NodeName":"rogue","Datacenter":"dc1","Server":true},"Stats":{},
			"DebugConfig":{"ClientAddrs":["0.0.0.0"],"ServerPort":8300},"Member":{"Name":"rogue","Addr":"ROGUE",
			"Tags":{"role":"consul","dc":"dc1","port":"8300","id":"id-0"}}}`),
		"/v1/agent/members": fill(`[{"Name":"rogue","Addr":"ROGUE","Port":8301,"Status":1,
			"Tags":{"role":"consul","dc":"dc1","port":"8300","id":"id-0","build":"1.22.5:a"}},
			{"Name":"victim","Addr":"VICTIM","Port":8301,"Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300","id":"id-1",
			"build":"1.22.5:a","wan_join_port":"8302","grpc_port":"8502","grpc_tls_port":"8503"}}]`),
		"/v1/status/leader":               fill(`"VICTIM:8300"`),
		"/v1/status/peers":                fill(`["VICTIM:8300"]`),
		"/v1/operator/raft/configuration": fill(`{"Servers":[{"ID":"id-1","Address":"VICTIM:8300","Voter":true}]}`),
		"/v1/catalog/nodes":               "[{},{}]",
	}}
	listener := must.Get(net.Listen("tcp", net.JoinHostPort(addr, "8500")))(t)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(rogue.answerRight)}}
	server.Start()
	t.Cleanup(server.Close)
}

// An agent cannot make the exporter talk to hosts that the module's list does not have, let alone send them the token.
func TestModules_RogueAgent(t *testing.T) {
	wire := startTripwire(t)
	rogue := "127.0.251." + strconv.Itoa(1+rand.IntN(250))
	startRogue(t, rogue, wire.addr)
	folder := harness.WriteFiles(t, map[string]string{"token": "hush-hush", "config.yml": fmt.Sprintf(`modules:
  careful: {token_file: token, probe: {client_ports: servers}, targets: [%s]}
  careless: {token_file: token, probe: {client_ports: servers}, targets: [127.0.0.0/8]}
`, rogue)})
	e := harness.StartExporter(t, nil, "--config.file="+filepath.Join(folder, "config.yml"))
	for range 3 {
		s := probed(t, e, "careful", rogue)
		s.Expect(t, harness.Samples{"probe_success": 1, "consul_up": 1})
		if s[`consul_port_up{port="8300",protocol="rpc",server="victim",transport="tcp"}`] != 0 {
			t.Error("the host that is not allowed is up")
		}
	}
	if n := wire.touches.Load(); n != 0 {
		t.Errorf("the host that is not allowed was talked to %d times, want never", n)
	}
	// With the host on its list the same agent's word counts: else nothing was proven.
	e.Page(t, probePage("careless", rogue), http.StatusOK)
	if wire.touches.Load() == 0 {
		t.Error("the host that is allowed was never talked to; the test proves nothing")
	}
}

// SIGHUP loads the file again, as a request does; TestReload has what that means. Without a file the exporter survives
// it.
func TestModules_Hangup(t *testing.T) {
	t.Parallel()
	agent := startHostile(t).api.URL // It answers as Consul does.
	path := harness.WriteFile(t, "config.yml", someModules)
	e := harness.StartExporter(t, nil, "--config.file="+path, "--consul.server="+agent)
	const (
		successful = "consul_exporter_config_last_reload_successful"
		timestamp  = "consul_exporter_config_last_reload_success_timestamp_seconds"
	)
	hangup := func(e *harness.Exporter, done string) {
		t.Helper()
		must.Do(t, e.Cmd.Process.Signal(syscall.SIGHUP))
		e.WaitLog(t, done, 1)
	}
	first := e.Scrape(t)
	first.Expect(t, harness.Samples{successful: 1})
	first.ExpectNone(t, "probe_")
	if age := float64(time.Now().UnixMilli())/1000 - first[timestamp]; age < 0 || age > 60 {
		t.Errorf("the file was loaded %v s ago, want less than a minute", age)
	}

	replace(t, path, "modules:\n  m: {targets: [10.0.0.1/8], scheme: ftp}\n  n: {}\n")
	hangup(e, "modules.n.targets")
	e.Scrape(t).Expect(t, harness.Samples{successful: 0, timestamp: first[timestamp]})
	replace(t, path, "modules: {m: {targets: [127.0.0.0/8]}}")
	hangup(e, "configuration file is loaded anew")
	second := e.Scrape(t)
	second.Expect(t, harness.Samples{successful: 1})
	if second[timestamp] <= first[timestamp] {
		t.Errorf("the file was loaded at %v, want later than %v", second[timestamp], first[timestamp])
	}
	probed(t, e, "m", strings.TrimPrefix(agent, "http://")).Expect(t, harness.Samples{"probe_success": 1})

	noFile := harness.StartExporter(t, nil, "--consul.server="+agent)
	hangup(noFile, "no configuration file")
	noFile.Scrape(t).ExpectNone(t, "consul_exporter_config_")
}
