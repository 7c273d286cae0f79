// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/rpc"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"
	msgpackrpc "github.com/hashicorp/net-rpc-msgpackrpc/v2"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
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
	mu          sync.Mutex
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
	s.mu.Lock()
	defer s.mu.Unlock()
	*reply = s.leader
	return nil
}

// Peers returns the addresses in the Raft configuration.
func (s *fakeStatus) Peers(_ NoArgs, reply *[]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	*reply = s.peers
	return s.peersErr
}

// RaftStats returns the position in the log.
func (s *fakeStatus) RaftStats(_ NoArgs, reply *RaftStats) error {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &fakeServer{name: name, address: l.Addr().String(), status: &fakeStatus{lastIndex: 20}}
	server := rpc.NewServer()
	if err := server.RegisterName("Status", s.status); err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveFake(tb, server, conn) })
		}
	})
	tb.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return s
}

func serveFake(tb testing.TB, server *rpc.Server, conn net.Conn) {
	tb.Helper()
	defer conn.Close()
	r := bufio.NewReader(conn)
	first, err := r.ReadByte()
	if errors.Is(err, io.EOF) { // The scrape ended before, as it does when the server has left meanwhile. Consul says nothing about it either.
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

func (f *fakeConsul) answers() map[string]string {
	var lan, wan, raft, peers, autopilot, coordinates []string
	for i, s := range f.servers {
		host, port, _ := net.SplitHostPort(s.address)
		member := fmt.Sprintf(`{"Name":"%s%%s","Addr":%q,"Port":%d,"Status":1,"Tags":{"role":"consul","dc":"dc1","acls":"1","port":%q,"id":"id-%d","build":"1.22.5:abc"}}`,
			s.name, host, s.serfPort, port, i+1)
		lan = append(lan, fmt.Sprintf(member, ""))
		wan = append(wan, fmt.Sprintf(member, ".dc1"))
		raft = append(raft, fmt.Sprintf(`{"ID":"id-%d","Node":%q,"Address":%q,"Voter":true}`, i+1, s.name, s.address))
		peers = append(peers, fmt.Sprintf("%q", s.address))
		autopilot = append(autopilot, fmt.Sprintf(`"id-%d":{"ID":"id-%d","Name":%q,"Address":%q,"NodeStatus":"alive","Version":"1.22.5",
			"LastContact":"%dms","LastTerm":2,"LastIndex":20,"Healthy":true,"StableSince":"2026-01-02T03:04:05.678Z","ReadReplica":false,
			"Status":%q,"Meta":{},"NodeType":"voter"}`, i+1, i+1, s.name, s.address, 15*i, []string{"leader", "voter"}[min(i, 1)]))
		coordinates = append(coordinates, fmt.Sprintf(`{"Node":%q,"Segment":"","Coord":{"Vec":[%d,0,0,0,0,0,0,0],"Error":1.5,
			"Adjustment":0,"Height":0.5}}`, s.name, i))
	}
	lan = append(lan, `{"Name":"client-1","Addr":"127.0.0.1","Status":4,"Tags":{"role":"node","dc":"dc1","build":"1.21.0:abc"}}`)
	list := func(items []string) string { return "[" + strings.Join(items, ",") + "]" }
	return map[string]string{
		"/v1/agent/self": `{"Config":{"NodeName":"server-1","Datacenter":"dc1","Server":true},
			"DebugConfig":{"ClientAddrs":["127.0.0.1"],"ACLsEnabled":true},"Member":{"Addr":"10.0.0.1"},
			"Stats":{"raft":{"state":"Leader","term":"2","commit_index":"20","applied_index":"19","fsm_pending":"1",
				"last_snapshot_index":"0","last_snapshot_term":"0"},
				"serf_lan":{"encrypted":"false","health_score":"0","event_queue":"0","intent_queue":"1","query_queue":"2"},
				"serf_wan":{"encrypted":"false","health_score":"3","event_queue":"0","intent_queue":"0","query_queue":"0"}}}`,
		"/v1/agent/members":     list(lan),
		"/v1/agent/members?wan": list(wan),
		// Of operator, peering and keys, of any agent, and of the four that there are.
		"/v1/internal/acl/authorize":      list(slices.Repeat([]string{`{"Allow":true}`}, 8)),
		"/v1/operator/raft/configuration": `{"Servers":` + list(raft) + `,"Index":1}`,
		"/v1/status/leader":               fmt.Sprintf("%q", f.servers[0].address),
		"/v1/acl/replication":             `{"Enabled":true,"Running":true,"SourceDatacenter":"dc0","LastSuccess":"2026-01-02T03:04:05Z","LastError":"2026-01-01T03:04:05Z"}`,
		"/v1/catalog/datacenters":         `["dc1","dc0"]`,
		"/v1/connect/ca/roots":            fakeRoots,
		"/v1/kv/limits/":                  fakeKeys,
		"/v1/operator/license":            `{"Valid":true,"License":{"license_id":"x","expiration_time":"2027-01-02T03:04:05Z"},"Warnings":[]}`,
		"/v1/peerings":                    fakePeerings,
		"/v1/session/list":                `[{"ID":"s1","Name":"lock","Node":"client-1"},{"ID":"s2","Name":"","Node":"client-1"}]`,
		"/v1/agent/metrics":               fakeTelemetry,
		"/v1/status/peers":                list(peers),
		"/v1/catalog/nodes":               fakeNodes,
		"/v1/internal/ui/nodes":           fakeCatalog,
		"/v1/catalog/services":            `{"consul":[],"web":["v1","zone-a"],"Web":["v2"]}`,
		"/v1/health/state/any":            fakeHealthState,
		"/v1/health/state/critical":       fakeMaintenance,
		"/v1/health/service/consul":       `[{"Node":{"Node":"server-1"},"Service":{"ID":"consul","Service":"consul","Tags":[],"Meta":{"version":"1.22.5"}}}]`,
		"/v1/health/service/web":          fakeWebEntries,
		"/v1/health/service/Web":          fakeWebEntries,
		"/v1/agent/services":              `{"web-1":{"ID":"web-1","Service":"web","Tags":["v1","zone-a","v1"],"Meta":{"team":"shop"}}}`,
		"/v1/agent/checks": `{"alive":{"CheckID":"alive","Name":"Alive","Status":"passing","ServiceID":"web-1","ServiceName":"web"},
			"disk":{"CheckID":"disk","Name":"Disk space","Status":"warning","ServiceID":"","ServiceName":""}}`,
		"/v1/operator/autopilot/state": `{"Healthy":true,"FailureTolerance":1,"OptimisticFailureTolerance":1,"Servers":{` +
			strings.Join(autopilot, ",") + `},"Leader":"id-1","Voters":["id-1","id-2","id-3"]}`,
		"/v1/operator/autopilot/configuration": `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":3,
			"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":4,"ModifyIndex":4}`,
		"/v1/coordinate/nodes": list(coordinates),
		consistentPath:         "[]",

		"/v1/internal/ui/catalog-overview": fakeOverview,
		"/v1/catalog/services" + guardMark: `{}`,
		"/v1/catalog/services" + restMark:  `{"web":[],"Web":[]}`,
	}
}

// fakeRoots are one that signs and one that it has replaced. Neither holds a certificate.
const fakeRoots = `{"ActiveRootID":"aa:01","TrustDomain":"11111111-2222-3333-4444-555555555555.consul","Roots":[
	{"ID":"aa:01","Name":"Consul CA Root Cert","NotAfter":"2036-01-02T03:04:05Z","RootCert":"","Active":true},
	{"ID":"bb:02","Name":"Consul CA Root Cert","NotAfter":"2027-01-02T03:04:05Z","RootCert":"","Active":false}]}`

// fakeKeys are numbers as consul_exporter reads them, and what is none: a word, nothing, half a number, a number that
// is too large.
const fakeKeys = `[{"LockIndex":0,"Key":"limits/","Flags":0,"Value":null},
	{"Key":"limits/count","Value":"NDI="},{"Key":"limits/share","Value":"MC4yNQ=="},{"Key":"limits/large","Value":"MWUz"},
	{"Key":"limits/below","Value":"LTc="},{"Key":"limits/\u00fcber/a \"b\"","Value":"MQ=="},
	{"Key":"limits/word","Value":"eWVz"},{"Key":"limits/unit","Value":"NDJt"},{"Key":"limits/empty","Value":""},{"Key":"limits/huge","Value":"MWU5OTk="}]`

// fakePeerings are one that is well, one that never was and one in a state that is not known yet.
const fakePeerings = `[{"ID":"p1","Name":"east","State":"ACTIVE","StreamStatus":{"ImportedServices":["web","api"],"ExportedServices":["db"],
		"LastHeartbeat":"2026-01-02T03:04:05Z","LastReceive":"2026-01-02T03:04:05Z","LastSend":"2026-01-02T03:04:05Z"}},
	{"ID":"p2","Name":"west","State":"PENDING","StreamStatus":{"ImportedServices":null,"ExportedServices":null,"LastHeartbeat":null}},
	{"ID":"p3","Name":"moon","State":"DREAMING"}]`

// fakeTelemetry is that of a leader with a host name in two parts. Two counters of one name differ in their labels;
// that of errors is not there, as nothing was counted, and one gauge is no number that can be.
const fakeTelemetry = `{"Timestamp":"2026-01-02 03:04:10 +0000 UTC","Points":[],"Gauges":[
	{"Name":"consul.host.example.runtime.alloc_bytes","Value":16606048,"Labels":{}},
	{"Name":"consul.host.example.runtime.sys_bytes","Value":31631640,"Labels":{}},
	{"Name":"consul.host.example.runtime.num_goroutines","Value":132,"Labels":{}},
	{"Name":"consul.host.example.runtime.total_gc_pause_ns","Value":4404121,"Labels":{}},
	{"Name":"consul.host.example.rpc.queries_blocking","Value":7,"Labels":{}},
	{"Name":"consul.host.example.raft.leader.oldestLogAge","Value":63500,"Labels":{}},
	{"Name":"consul.raft.fsm.lastRestoreDuration","Value":25,"Labels":{}},
	{"Name":"consul.raft.boltdb.freelistBytes","Value":4096,"Labels":{}},
	{"Name":"consul.host.example.autopilot.healthy","Value":1,"Labels":{}},
	{"Name":"consul.host.example.autopilot.failure_tolerance","Value":1,"Labels":{}}],
	"Counters":[
	{"Name":"consul.rpc.request","Count":15,"Rate":1.5,"Sum":15,"Min":1,"Max":1,"Mean":1,"Stddev":0,"Labels":{}},
	{"Name":"consul.rpc.accept_conn","Count":2,"Rate":0.2,"Sum":2,"Min":1,"Max":1,"Mean":1,"Stddev":0,"Labels":{}},
	{"Name":"consul.rpc.rate_limit.exceeded","Count":3,"Rate":0.3,"Sum":3,"Min":1,"Max":1,"Mean":1,"Stddev":0,"Labels":{"mode":"enforcing"}},
	{"Name":"consul.rpc.rate_limit.exceeded","Count":4,"Rate":0.4,"Sum":4,"Min":1,"Max":1,"Mean":1,"Stddev":0,"Labels":{"mode":"permissive"}},
	{"Name":"consul.client.rpc","Count":1,"Rate":0.1,"Sum":1,"Min":1,"Max":1,"Mean":1,"Stddev":0,"Labels":{}},
	{"Name":"consul.raft.apply","Count":5,"Rate":0.5,"Sum":5,"Min":1,"Max":1,"Mean":1,"Stddev":0,"Labels":{}},
	{"Name":"consul.raft.logstore.verifier.read_checksum_failures","Count":1,"Rate":0.2,"Sum":2,"Min":2,"Max":2,"Mean":2,"Stddev":0,"Labels":{}}],
	"Samples":[
	{"Name":"consul.raft.commitTime","Count":2,"Rate":0.6,"Sum":6,"Min":2,"Max":4,"Mean":3,"Stddev":1,"Labels":{}},
	{"Name":"consul.raft.leader.lastContact","Count":2,"Rate":6,"Sum":60,"Min":20,"Max":40,"Mean":30,"Stddev":10,"Labels":{}},
	{"Name":"consul.raft.boltdb.storeLogs","Count":2,"Rate":0.6,"Sum":6,"Min":1,"Max":5,"Mean":3,"Stddev":2,"Labels":{}},
	{"Name":"consul.raft.thread.main.saturation","Count":9,"Rate":0.09,"Sum":0.9,"Min":0,"Max":0.25,"Mean":0.1,"Stddev":0.1,"Labels":{}},
	{"Name":"consul.raft.thread.fsm.saturation","Count":1,"Rate":0,"Sum":0,"Min":0,"Max":0,"Mean":0,"Stddev":0,"Labels":{}}]}`

// consistentPath is what the collector consistent reads.
const consistentPath = "/v1/health/node/consul_cluster_exporter"

// paths are all that the fake answers.
func (f *fakeConsul) paths() []string {
	var paths []string
	for path := range f.answers() {
		paths = append(paths, path)
	}
	return paths
}

// answer makes a path answer with a status; 0 is the usual answer again.
func (f *fakeConsul) answer(path string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.override, path)
	if status != 0 {
		f.override[path] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
}

// answerWith makes a path answer with this body.
func (f *fakeConsul) answerWith(path, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override[path] = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }
}

// handle makes a path answer with a handler of the test's own.
func (f *fakeConsul) handle(path string, handler http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override[path] = handler
}

// hang makes a path answer only when its request is given up.
func (f *fakeConsul) hang(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.override[path] = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
}

// answerLeaderAfterSelf makes the answer about the leader wait for the request about the agent itself, for who asks
// both at the same time and may have no need for the second.
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

// exporter returns an exporter of the fake cluster.
func (f *fakeConsul) exporter(logger log.Logger, enabled ...string) *Exporter {
	f.t.Helper()
	return f.exporterWith(nil, logger, enabled...)
}

// exporterWith returns one that probes with a prober; nil means a usual one.
func (f *fakeConsul) exporterWith(prober *probe.Prober, logger log.Logger, enabled ...string) *Exporter {
	f.t.Helper()
	address, err := consul.ParseAddress(f.api.URL)
	if err != nil {
		f.t.Fatal(err)
	}
	c := cluster.New(cluster.Options{
		Client:        consul.Options{Address: address, Timeout: 5 * time.Second, Token: func() string { return "a token" }},
		Ports:         cluster.PortOptions{Timeout: 5 * time.Second, Concurrency: 8},
		Prober:        prober,
		KVPrefix:      "limits/",
		TelemetryWait: time.Nanosecond,
	})
	f.t.Cleanup(c.Close)
	if len(enabled) == 0 { // All that there are, whether on by default or not.
		for _, r := range registry {
			enabled = append(enabled, r.name)
		}
	}
	e, err := NewExporter(Options{Cluster: c, Enabled: enabled, Logger: logger})
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

var errShutdown = errors.New("raft is already shutdown")

// fakeCatalog has services in all states: without checks, with many, in maintenance, failing with their node; names
// that differ in nothing but case, a name that begins with a slash, a tag that is there twice; a node that another
// cluster exports to this one.
const fakeCatalog = `[
	{"ID":"id-1","Node":"server-1","Address":"127.0.0.1","TaggedAddresses":{"lan":"127.0.0.1"},"Meta":{"consul-version":"1.22.5"},
		"Services":[{"ID":"consul","Service":"consul","Tags":[],"Meta":{"version":"1.22.5"},"Port":8300,"Weights":{"Passing":1,"Warning":1}},
			{"ID":"/path","Service":"/path","Tags":null}],
		"Checks":[{"Node":"server-1","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Output":"Agent alive","ServiceID":"","ServiceName":""}]},
	{"ID":"","Node":"client-1","Address":"127.0.0.1","Services":[
			{"ID":"web-1","Service":"web","Tags":["v1","zone-a","v1"],"Meta":{"team":"shop","Team":"\u00dcbung \"x\""}},
			{"ID":"web-2","Service":"Web","Tags":["v2"],"Meta":null}],
		"Checks":[
			{"CheckID":"alive","Name":"Alive","Status":"passing","ServiceID":"web-1","ServiceName":"web","ServiceTags":["v1"],"Definition":{}},
			{"CheckID":"slow","Name":"Slow","Status":"warning","ServiceID":"web-1","ServiceName":"web"},
			{"CheckID":"_service_maintenance:web-2","Name":"Service Maintenance Mode","Status":"critical","ServiceID":"web-2","ServiceName":"Web"}]},
	{"ID":"","Node":"client-2","Address":"127.0.0.1","Services":[{"ID":"web-1","Service":"web","Tags":["v1"]}],
		"Checks":[{"CheckID":"_node_maintenance","Name":"Node Maintenance Mode","Status":"critical","ServiceID":"","ServiceName":""},
			{"CheckID":"odd","Name":"Odd","Status":"fine","ServiceID":"","ServiceName":""}]},
	{"Node":"theirs","PeerName":"other","Services":[{"ID":"api","Service":"api"}],"Checks":[]}]`

// fakeNodes has the nodes of fakeCatalog, and another.
const fakeNodes = `[{"Node":"server-1","Address":"127.0.0.1","Meta":{"consul-network-segment":"","consul-version":"1.22.5"}},
	{"Node":"server-2","Address":"127.0.0.1","Meta":{"consul-version":"1.22.5"}},
	{"Node":"client-1","Address":"10.0.0.1","Meta":{"external-node":"true"}},{"Node":"client-2","Address":"10.0.0.2","Meta":null}]`

// fakeOverview has a service that Enterprise has in two namespaces.
const fakeOverview = `{"Nodes":[{"Name":"","Total":4,"Passing":3,"Warning":0,"Critical":1}],
	"Services":[{"Name":"consul","Total":1,"Passing":1,"Warning":0,"Critical":0},{"Name":"web","Total":3,"Passing":1,"Warning":2,"Critical":0},
		{"Name":"web","Total":1,"Passing":0,"Warning":0,"Critical":1}],
	"Checks":[{"Name":"Serf Health Status","Total":1,"Passing":1,"Warning":0,"Critical":0},{"Name":"Slow","Total":3,"Passing":0,"Warning":1,"Critical":1}]}`

// fakeMaintenance has an instance in maintenance, and one that the summary does not know yet.
const fakeMaintenance = `[{"Node":"client-1","CheckID":"_service_maintenance:web-9","Status":"critical","ServiceID":"web-9","ServiceName":"web"},
	{"Node":"client-1","CheckID":"_service_maintenance:web-8","Status":"critical","ServiceID":"web-8","ServiceName":"web"},
	{"Node":"client-2","CheckID":"_node_maintenance","Status":"critical","ServiceID":"","ServiceName":""}]`

// The same, as /v1/health/state/any and /v1/health/service/:name tell it.
const (
	fakeHealthState = `[{"Node":"server-1","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","ServiceID":"","ServiceName":""},
		{"Node":"client-2","CheckID":"_node_maintenance","Name":"Node Maintenance Mode","Status":"critical","ServiceID":"","ServiceName":""},
		{"Node":"client-2","CheckID":"odd","Name":"Odd","Status":"fine","ServiceID":"","ServiceName":""},
		{"Node":"theirs","PeerName":"other","CheckID":"x","Status":"passing"},null]`
	fakeWebEntries = `[{"Node":{"Node":"client-1"},"Service":{"ID":"web-1","Service":"web","Tags":["v1","zone-a","v1"],"Meta":{"team":"shop","Team":"Übung \"x\""}},"Checks":[
			{"Node":"client-1","CheckID":"alive","Name":"Alive","Status":"passing","ServiceID":"web-1","ServiceName":"web"},
			{"Node":"client-1","CheckID":"slow","Name":"Slow","Status":"warning","ServiceID":"web-1","ServiceName":"web"},null]},
		{"Node":{"Node":"client-1"},"Service":{"ID":"web-2","Service":"Web","Tags":["v2"]},"Checks":[
			{"Node":"client-1","CheckID":"_service_maintenance:web-2","Name":"Service Maintenance Mode","Status":"critical","ServiceID":"web-2","ServiceName":"Web"}]},
		{"Node":{"Node":"client-2"},"Service":{"ID":"web-1","Service":"web","Tags":["v1"]}},null]`
)
