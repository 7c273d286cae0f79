// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/rpc"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	msgpackrpc "github.com/hashicorp/net-rpc-msgpackrpc/v2"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// fakeConsul is a cluster of three servers for what a real one does not do on demand: its agent's HTTP API, and each
// server's port 8300 speaking the real protocol, on loopback ports of their own. What is asked for and not there
// fails the test.
type fakeConsul struct {
	t       testing.TB
	api     *httptest.Server
	servers []*fakeServer

	mu sync.Mutex
	// override answers a path in another way. Guarded by mu.
	override map[string]http.HandlerFunc
	// requests counts by path. Guarded by mu.
	requests map[string]int
}

// fakeServer is one server's port 8300 and, in a large cluster, its gossip port.
type fakeServer struct {
	name    string
	address string
	status  *fakeStatus
	// serfPort is 0 for a server without gossip.
	serfPort int
}

// fakeStatus has the methods of Consul's Status endpoint.
type fakeStatus struct {
	leader      string
	peers       []string
	lastContact string
	lastIndex   uint64
	peersErr    error
}

type (
	// NoArgs is the empty map that the methods take; net/rpc wants the types of its methods exported.
	NoArgs struct{}
	// RaftStats mirrors Consul's structs.RaftStats.
	RaftStats struct {
		LastContact         string
		LastTerm, LastIndex uint64
	}
)

// Ping answers.
func (s *fakeStatus) Ping(NoArgs, *NoArgs) error { return nil }

// Leader returns the leader's address.
func (s *fakeStatus) Leader(_ NoArgs, reply *string) error {
	*reply = s.leader
	return nil
}

// Peers returns the addresses in the Raft configuration.
func (s *fakeStatus) Peers(_ NoArgs, reply *[]string) error {
	*reply = s.peers
	return s.peersErr
}

// RaftStats returns the position in the log.
func (s *fakeStatus) RaftStats(_ NoArgs, reply *RaftStats) error {
	*reply = RaftStats{s.lastContact, 2, s.lastIndex}
	return nil
}

// startFake starts a healthy cluster of three, led by server-1.
func startFake(tb testing.TB) *fakeConsul {
	tb.Helper()
	var servers []*fakeServer
	for i := range 3 {
		servers = append(servers, startFakeServer(tb, fmt.Sprintf("server-%d", i+1)))
	}
	servers[2].status.lastIndex = 17
	return startFakeAgent(tb, servers)
}

// startFakeAgent starts the agent of a cluster of these servers, led by the first.
func startFakeAgent(tb testing.TB, servers []*fakeServer) *fakeConsul {
	tb.Helper()
	f := &fakeConsul{t: tb, servers: servers, override: make(map[string]http.HandlerFunc), requests: make(map[string]int)}
	for i, s := range f.servers {
		s.status.leader = f.servers[0].address
		for _, other := range f.servers {
			s.status.peers = append(s.status.peers, other.address)
		}
		s.status.lastContact = "0"
		if i > 0 {
			s.status.lastContact = "15ms"
		}
	}
	f.api = httptest.NewServer(http.HandlerFunc(f.serve))
	tb.Cleanup(f.api.Close)
	return f
}

func startFakeServer(tb testing.TB, name string) *fakeServer {
	tb.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(tb)
	s := &fakeServer{name: name, address: l.Addr().String(), status: &fakeStatus{lastIndex: 20}}
	server := rpc.NewServer()
	must.Do(tb, server.RegisterName("Status", s.status))
	serveEach(tb, l, func(conn net.Conn) { serveFake(tb, server, conn) })
	return s
}

// serveEach serves each connection, until the end of the test.
func serveEach(tb testing.TB, l net.Listener, serve func(net.Conn)) {
	tb.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	tb.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
}

func serveFake(tb testing.TB, server *rpc.Server, conn net.Conn) {
	tb.Helper()
	r := bufio.NewReader(conn)
	first, err := r.ReadByte()
	// The scrape ended before, as it does when the server has left meanwhile. Consul says nothing about it either.
	if errors.Is(err, io.EOF) {
		return
	}
	if err != nil || first != 0 {
		tb.Errorf("first byte %#x, %v; want 0x00", first, err)
		return
	}
	codec := msgpackrpc.NewServerCodec(struct {
		io.Reader
		io.WriteCloser
	}{r, conn})
	for server.ServeRequest(codec) == nil { // In order, as Consul does.
	}
}

// What is added to the path of the request that shows whether the catalog may be read at once, and of that for the
// services on nodes that must not be part of it.
const (
	guardMark = "?guard"
	restMark  = "?rest"
)

// serve answers as a server's HTTP API does, as far as it is used.
func (f *fakeConsul) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if r.URL.Query().Has("wan") {
		path += "?wan"
	}
	switch filter := r.URL.Query().Get("filter"); {
	case strings.HasPrefix(filter, `ServiceID == "consul"`):
		path += guardMark
	case strings.HasPrefix(filter, `"consul-version" not in NodeMeta`):
		path += restMark
	}
	f.mu.Lock()
	f.requests[path]++
	override := f.override[path]
	f.mu.Unlock()
	if override != nil {
		override(w, r)
		return
	}
	body, ok := f.answers()[path]
	if !ok {
		f.t.Errorf("unexpected request for %s", r.URL)
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Consul-KnownLeader", "true")
	w.Header().Set("X-Consul-LastContact", "20")
	_, _ = io.WriteString(w, body)
}

// answers are those of a healthy cluster, by path.
func (f *fakeConsul) answers() map[string]string {
	var lan, wan, raft, peers, autopilot, coordinates []string
	for i, s := range f.servers {
		host, port, _ := net.SplitHostPort(s.address)
		member := fmt.Sprintf(`{"Name":"%s%%s","Addr":%q,"Port":%d,"Status":1,
			"Tags":{"role":"consul","dc":"dc1","acls":"1","port":%q,"id":"id-%d","build":"1.22.5:abc"}}`,
			s.name, host, s.serfPort, port, i+1)
		lan = append(lan, fmt.Sprintf(member, ""))
		wan = append(wan, fmt.Sprintf(member, ".dc1"))
		raft = append(raft, fmt.Sprintf(`{"ID":"id-%d","Node":%q,"Address":%q,"Voter":true}`, i+1, s.name, s.address))
		peers = append(peers, strconv.Quote(s.address))
		autopilot = append(autopilot, fmt.Sprintf(`"id-%d":{"ID":"id-%d","Name":%q,"Address":%q,"NodeStatus":"alive",
			"Version":"1.22.5","LastContact":"%dms","LastTerm":2,"LastIndex":20,"Healthy":true,
			"StableSince":"2026-01-02T03:04:05.678Z","ReadReplica":false,"Status":%q,"Meta":{},"NodeType":"voter"}`,
			i+1, i+1, s.name, s.address, 15*i, []string{"leader", "voter"}[min(i, 1)]))
		coordinates = append(coordinates, fmt.Sprintf(`{"Node":%q,"Segment":"",
			"Coord":{"Vec":[%d,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.5}}`, s.name, i))
	}
	lan = append(lan, `{"Name":"client-1","Addr":"127.0.0.1","Status":4,
		"Tags":{"role":"node","dc":"dc1","build":"1.21.0:abc"}}`)
	list := func(items []string) string { return "[" + strings.Join(items, ",") + "]" }
	answers := map[string]string{
		"/v1/agent/members":     list(lan),
		"/v1/agent/members?wan": list(wan),
		// Of operator, peering and keys, of any agent, and of the four that there are.
		"/v1/internal/acl/authorize":      list(slices.Repeat([]string{`{"Allow":true}`}, 8)),
		"/v1/operator/raft/configuration": `{"Servers":` + list(raft) + `,"Index":1}`,
		"/v1/status/leader":               peers[0],
		"/v1/status/peers":                list(peers),
		"/v1/coordinate/nodes":            list(coordinates),
		"/v1/operator/autopilot/state": `{"Healthy":true,"FailureTolerance":1,"OptimisticFailureTolerance":1,"Servers":{` +
			strings.Join(autopilot, ",") + `},"Leader":"id-1","Voters":["id-1","id-2","id-3"]}`,
	}
	for path, answer := range fixedAnswers() {
		answers[path] = string(answer)
	}
	// The agent listens where it is asked, so that what it measured is its own.
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(f.api.URL, "http://"))
	answers["/v1/agent/self"] = strings.Replace(answers["/v1/agent/self"], `"DebugConfig":{`,
		`"DebugConfig":{"HTTPPort":`+port+`,`, 1)
	return answers
}

// fixedAnswers are the answers that do not depend on the addresses of the servers. Most have something unusual:
//   - /v1/connect/ca/roots: a root that signs and one that it has replaced, without certificates.
//   - /v1/kv/limits/: numbers as consul_exporter reads them, and other values: a word, nothing, half a number, a
//     number that is too large.
//   - /v1/peerings: one that is healthy, one that has never worked and one in an unknown state.
//   - /v1/agent/metrics: a leader with a host name in two parts. Two counters of one name differ in their labels;
//     that of errors is missing, as nothing was counted.
//   - /v1/internal/ui/nodes: services in all states: without checks, with many, in maintenance, failing with their
//     node; names that differ in case only, a name that begins with a slash, a tag that is there twice; a node that
//     another cluster exports to this one. /v1/health and /v1/catalog/services have the same services, and
//     /v1/catalog/nodes one more node.
//   - /v1/internal/ui/catalog-overview: a service that Enterprise has in two namespaces.
//   - /v1/health/state/critical: an instance in maintenance, and one that the overview does not have yet.
var fixedAnswers = sync.OnceValue(func() (answers map[string]json.RawMessage) {
	if err := json.Unmarshal(consulJSON, &answers); err != nil {
		panic(err)
	}
	return answers
})

//go:embed testdata/consul.json
var consulJSON []byte

// consistentPath is what the collector consistent reads.
const consistentPath = "/v1/health/node/consul_cluster_exporter"

// handle makes a path answer with a handler of the test's own; nil is the usual answer again.
func (f *fakeConsul) handle(path string, handler http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override[path] = handler
}

// answer makes a path answer with a status; 0 is the usual answer again.
func (f *fakeConsul) answer(path string, status int) {
	if status == 0 {
		f.handle(path, nil)
		return
	}
	f.handle(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// answerWith makes a path answer with this body.
func (f *fakeConsul) answerWith(path, body string) {
	f.handle(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
}

// hang makes a path answer only when its request is given up.
func (f *fakeConsul) hang(path string) {
	f.handle(path, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// answerLeaderAfterSelf makes the answer about the leader wait for the request about the agent itself, for a reader of
// both that may not need the second.
func (f *fakeConsul) answerLeaderAfterSelf() {
	f.handle("/v1/status/leader", func(w http.ResponseWriter, r *http.Request) {
		for asked := 0; asked == 0 && r.Context().Err() == nil; {
			f.mu.Lock()
			asked = f.requests["/v1/agent/self"]
			f.mu.Unlock()
			<-time.After(time.Millisecond)
		}
		_, _ = io.WriteString(w, f.answers()["/v1/status/leader"])
	})
}

// counts returns the requests so far, by path, and forgets them.
func (f *fakeConsul) counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := f.requests
	f.requests = make(map[string]int)
	return counts
}

// exporter returns an exporter of the fake cluster with these collectors, or with all if none are named. A nil logger
// is no log.
func (f *fakeConsul) exporter(logger log.Logger, enabled ...string) *Exporter {
	f.t.Helper()
	return f.exporterWith(func(_ *cluster.Options, opts *Options) { opts.Logger = logger }, enabled...)
}

// exporterWith returns one with other options.
func (f *fakeConsul) exporterWith(change func(*cluster.Options, *Options), enabled ...string) *Exporter {
	f.t.Helper()
	address := must.Get(consul.ParseAddress(f.api.URL))(f.t)
	if len(enabled) == 0 { // All that there are, whether on by default or not.
		for _, r := range registry {
			enabled = append(enabled, r.Name)
		}
	}
	opts := Options{Enabled: enabled}
	clusterOpts := cluster.Options{
		Client: consul.Options{
			Address: address, Timeout: 5 * time.Second, Token: func() string { return "a token" },
		},
		Ports: cluster.PortOptions{
			Timeout: 5 * time.Second, Concurrency: 8, ClientPorts: cluster.ClientPortsOff, // The fake has none.
		},
		KVPrefix:      "limits/",
		TelemetryWait: time.Nanosecond,
	}
	change(&clusterOpts, &opts)
	opts.Cluster = cluster.New(clusterOpts)
	f.t.Cleanup(opts.Cluster.Close)
	return must.Get(NewExporter(opts))(f.t)
}

var errShutdown = errors.New("raft is already shutdown")
