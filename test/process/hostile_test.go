// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// hostileConsul is an agent and a server that answer as Consul does, until endpoint and port are set: then all
// endpoints of the HTTP API and all ports answer with the worst.
type hostileConsul struct {
	api *httptest.Server
	// right are the right answers by path.
	right map[string]string
	// endpoint answers in place of the HTTP API, and port on every other port; nil means the right answer, or none.
	endpoint atomic.Pointer[http.HandlerFunc]
	port     atomic.Pointer[func(net.Conn)]
}

func startHostile(t *testing.T) *hostileConsul {
	t.Helper()
	h := &hostileConsul{}
	h.api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := h.endpoint.Load(); answer != nil {
			(*answer)(w, r)
			return
		}
		h.answerRight(w, r)
	}))
	t.Cleanup(h.api.Close)
	noise := make([]byte, 60_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	port := func() int {
		return listenOn(t, "127.0.0.1:0", func(conn net.Conn) {
			if answer := h.port.Load(); answer != nil {
				(*answer)(conn)
			}
		}, func(conn net.PacketConn, from net.Addr) {
			for i := range 100 {
				_, _ = conn.WriteTo(noise[:i*600], from)
			}
		})
	}
	grpc, grpcTLS := port(), port()
	h.right = map[string]string{
		"/v1/agent/self": fmt.Sprintf(`{"Config":{"NodeName":"server-1","Datacenter":"dc1","Server":true},
			"Member":{"Addr":"127.0.0.1"},"DebugConfig":{"ClientAddrs":["127.0.0.1"],"AdvertiseAddrLAN":"127.0.0.1",
			"HTTPPort":%d,"HTTPSPort":%d,"GRPCPort":%d,"GRPCTLSPort":%d,"DNSPort":%d,"DNSDomain":"consul."}}`,
			port(), port(), grpc, grpcTLS, port()),
		"/v1/agent/members": fmt.Sprintf(`[{"Name":"server-1","Addr":"127.0.0.1","Port":%d,"Status":1,"Tags":{"role":"consul",
			"dc":"dc1","id":"1","port":"%d","wan_join_port":"%d","grpc_port":"%d","grpc_tls_port":"%d"}}]`,
			port(), port(), port(), grpc, grpcTLS),
		"/v1/status/leader": `"127.0.0.1:8300"`, "/v1/status/peers": `["127.0.0.1:8300"]`,
		"/v1/catalog/nodes": `[{"Node":"server-1"}]`, "/v1/catalog/datacenters": `["dc1"]`,
		"/v1/operator/raft/configuration": `{"Servers":[{"ID":"1","Node":"server-1","Address":"127.0.0.1:8300",
			"Voter":true}]}`,
	}
	return h
}

// listenOn serves the connections to an address, and replies to the packets, until the test ends.
func listenOn(t *testing.T, address string, serve func(net.Conn), reply func(net.PacketConn, net.Addr)) (port int) {
	t.Helper()
	tcp := must.Get(net.Listen("tcp", address))(t)
	udp := must.Get(net.ListenPacket("udp", tcp.Addr().String()))(t)
	t.Cleanup(func() {
		tcp.Close()
		udp.Close()
	})
	go func() {
		for conn, err := tcp.Accept(); err == nil; conn, err = tcp.Accept() {
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	go func() {
		buf := make([]byte, 2048)
		for _, from, err := udp.ReadFrom(buf); err == nil; _, from, err = udp.ReadFrom(buf) {
			reply(udp, from)
		}
	}()
	return tcp.Addr().(*net.TCPAddr).Port
}

func (h *hostileConsul) answerRight(w http.ResponseWriter, r *http.Request) {
	answer, ok := h.right[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable) // Is not remembered, unlike 404.
	}
	_, _ = io.WriteString(w, answer)
}

// endlessly writes first and then more of what next returns until nobody reads it any more.
func endlessly(w io.Writer, first string, next func(i int) string) {
	_, err := io.WriteString(w, first)
	for i := 0; err == nil; i++ {
		_, err = io.WriteString(w, next(i))
	}
}

func repeated(text string) func(int) string {
	block := strings.Repeat(text, 1+16384/len(text))
	return func(int) string { return block }
}

// hijacked answers with bytes that net/http would not send.
func hijacked(answer func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			defer conn.Close()
			answer(conn)
		}
	}
}

func drip(w io.Writer) {
	for _, err := io.WriteString(w, "["); err == nil; _, err = io.WriteString(w, " ") {
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // It drips.
	}
}

// plausible are the beginnings and the elements of answers that are right, but do not end.
func plausible(path string) (first string, element func(i int) string) {
	answers := map[string][2]string{
		"/v1/agent/members":               {"[{}", `,{"Name":"n#","Status":1,"Tags":{"role":"node","dc":"d#"}}`},
		"/v1/kv/limits/":                  {"[{}", `,{"Key":"limits/#","Value":"MQ=="}`},
		"/v1/coordinate/nodes":            {"[{}", `,{"Node":"server-1","Coord":{"Vec":[1,2,3,#]}}`},
		"/v1/peerings":                    {"[{}", `,{"Name":"p#","StreamStatus":{"ImportedServices":["","",""]}}`},
		"/v1/operator/raft/configuration": {`{"Servers":[{}`, `,{"ID":"#","Node":"n#","Address":"127.0.0.1:#"}`},
		"/v1/agent/self":                  {`{"Config":{"NodeName":"a"},"Stats":{"x":{"a":"b"`, `,"k#":"v#"`},
		"/v1/agent/metrics": {
			`{"Gauges":[],"Samples":[{}`, `,{"Name":"consul.raft.thread.main.saturation","Labels":{"a#":"","b#":""}}`,
		},
		"/v1/internal/ui/nodes": {
			`[{"Node":"n","Services":[{}`, `,{"ID":"i#","Service":"s#","Tags":["t#","","",""],"Meta":{"k#":"v#"}}`,
		},
	}
	answer, ok := answers[path]
	if !ok {
		return "[{}", repeated(",{}")
	}
	return answer[0], numbered(answer[1])
}

// numbered replaces # with the number of the element.
func numbered(format string) func(int) string {
	return func(i int) string { return strings.ReplaceAll(format, "#", strconv.Itoa(i)) }
}

func gzipBomb(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range 200 {
		must.Get(w.Write(make([]byte, 1<<20)))(t)
	}
	must.Do(t, w.Close())
	return b.Bytes()
}

// What the exporter may have in memory at its peak, whatever it is answered, by what one answer may have.
const (
	hostileAnswerBytes = "1MiB"
	hostileMemoryMB    = 250
	// hostileDefaultMB is with the default, 64 MiB.
	hostileDefaultMB = 600
)

// Whatever Consul answers, on all endpoints and all ports at once, the exporter lives, answers within the time that
// the scrape grants it, and stays within its memory; and when Consul is well again, so is what it tells.
func TestHostileConsul(t *testing.T) {
	t.Parallel() // It mostly waits.
	h, binary := startHostile(t), harness.BuildExporter(t)
	flags := []string{
		"--consul.server=" + h.api.URL, "--probe.timeout=500ms", "--probe.client-ports=servers", "--kv.prefix=limits/",
		"--collector.sessions",
	}
	bounded := harness.StartBinary(t, binary, nil, append(flags, "--consul.max-response-bytes="+hostileAnswerBytes)...)
	for _, c := range h.cases(t) {
		t.Run(c.name, func(t *testing.T) {
			if logged := c.run(t, h, bounded, hostileMemoryMB); !strings.Contains(logged, c.logs) {
				t.Errorf("the log does not say %q:\n%.5000s", c.logs, logged)
			}
		})
	}
	h.expectRecovery(t, bounded)
	byDefault := harness.StartBinary(t, binary, nil, flags...)
	for _, c := range h.cases(t) {
		if c.large {
			t.Run("by default/"+c.name, func(t *testing.T) { c.run(t, h, byDefault, hostileDefaultMB) })
		}
	}
}

// hostileCase is a way to answer.
type hostileCase struct {
	name     string
	endpoint http.HandlerFunc // nil: the right answers.
	port     func(net.Conn)   // nil: closes the connection.
	// logs is what the log must say.
	logs string
	// large is whether it takes the more memory the larger an answer may be.
	large bool
}

// run lets the agent answer in this way, and returns what the exporter logs.
func (c hostileCase) run(t *testing.T, h *hostileConsul, e *harness.Exporter, memoryMB float64) (logged string) {
	t.Helper()
	h.expectRecovery(t, e)
	if c.endpoint != nil {
		h.endpoint.Store(&c.endpoint)
	}
	if c.port != nil {
		h.port.Store(&c.port)
	}
	before := len(e.Log.String())
	const granted = 4 * time.Second
	start := time.Now()
	status, body, err := e.Get(t.Context(), "/metrics", granted)
	if err != nil || status != http.StatusOK {
		t.Fatalf("scrape: status %d, error %v, body %.300s", status, err, body)
	}
	if took := time.Since(start); took > 2*granted { // Twice, for a machine that is busy.
		t.Errorf("the scrape took %s; it was granted %s", took, granted)
	}
	harness.ParseSamples(t, body)
	if c.port == nil { // With hostile ports it takes all of its time.
		if status, body, err := e.Get(t.Context(), "/?format=json", granted); err != nil || status != http.StatusOK {
			t.Errorf("status page: status %d, error %v, body %.300s", status, err, body)
		}
	}
	logged = e.Log.String()[before:]
	if strings.Contains(logged, "panic") || len(logged) > 100_000 {
		t.Errorf("log has %d bytes; want few, and no panic:\n%.5000s", len(logged), logged)
	}
	for line := range strings.Lines(logged) {
		if !strings.HasPrefix(line, "level=") || strings.HasPrefix(line, "level=error msg=forged") {
			t.Errorf("a line of the log is not the exporter's: %s", line)
		}
	}
	peak := harness.PeakMemory(t, e) / 1e6
	if peak > memoryMB {
		t.Errorf("%.0f MB of memory at the peak; want %.0f at most", peak, memoryMB)
	}
	t.Logf("%.0f MB of memory at the peak so far", peak)
	return logged
}

// cases are all ways.
func (h *hostileConsul) cases(t *testing.T) []hostileCase {
	t.Helper()
	random := make([]byte, 1<<16)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(random)
	bomb := gzipBomb(t)
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		}
	}
	stream := func(status int, first, again string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			endlessly(w, first, repeated(again))
		}
	}
	bytesOf := func(first, again string) func(net.Conn) {
		return func(c net.Conn) { endlessly(c, first, repeated(again)) }
	}
	members := func(element string, size int) http.HandlerFunc {
		var list strings.Builder
		list.WriteString("[{}")
		for i := 0; list.Len() < size; i++ {
			list.WriteString(numbered(element)(i))
		}
		answer := list.String() + "]"
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1/agent/members" {
				_, _ = io.WriteString(w, answer)
				return
			}
			h.answerRight(w, r)
		}
	}
	const (
		server  = `,{"Name":"s#","Addr":"127.0.0.1","Port":1#,"Status":1,"Tags":{"role":"consul","id":"#","port":"1#"}}`
		invalid = "[{\"Name\":\"\xff\xfe\xed\xa0\x80\",\"Node\":\"\xc0\xaf\",\"Tags\":{\"role\":\"consul\xff\"}}]"
		twice   = `,"Name":"x","Tags":{"a":"b"},"Services":[{"ID":"a"}]`
		ok      = "HTTP/1.1 200 OK\r\n"
	)
	return []hostileCase{
		{name: "right answers without an end", large: true, endpoint: func(w http.ResponseWriter, r *http.Request) {
			first, element := plausible(r.URL.Path)
			endlessly(w, first, element)
		}, logs: "--consul.max-response-bytes"},
		{name: "tiny elements without an end", large: true, endpoint: stream(200, "[null", ",{}")},
		{name: "nothing but nulls", endpoint: stream(200, "[null", ",null")},
		{name: "a text without an end", large: true, endpoint: stream(200, `["`, "ü")},
		{name: "a number without an end", endpoint: stream(200, `[1`, "0")},
		{name: "depth without an end", endpoint: stream(200, "", `{"a":[`)},
		{name: "keys that come again and again", large: true, endpoint: stream(200, `[{"Name":"x"`, twice)},
		{
			name:     "a byte at a time",
			endpoint: func(w http.ResponseWriter, _ *http.Request) { drip(w) }, port: func(c net.Conn) { drip(c) },
		},
		{name: "compressed zeros", endpoint: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		}},
		{name: "invalid UTF-8", endpoint: says(200, invalid)},
		{name: "headers without an end", endpoint: hijacked(bytesOf(ok, "X: y\r\n"))},
		{name: "a header without an end", endpoint: hijacked(bytesOf(ok+"X: ", "y"))},
		{name: "interim answers without an end", endpoint: hijacked(bytesOf("", "HTTP/1.1 103 Early Hints\r\n\r\n"))},
		{name: "a length that is not true", endpoint: hijacked(func(c net.Conn) {
			_, _ = io.WriteString(c, ok+"Content-Length: 9223372036854775807\r\n\r\n[")
		})},
		{name: "an error without an end", endpoint: stream(500, "", "No cluster leader. ")},
		{
			name: "an error that looks like the log", endpoint: says(500, "no\nlevel=error msg=forged\x1b[2J"),
			logs: `500 (no; level=error msg=forged\u001b[2J)`,
		},
		{name: "elsewhere", endpoint: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, h.api.URL+r.URL.Path, http.StatusFound)
		}},
		{name: "too many servers", endpoint: members(server, 200_000), logs: "more than 1000 are not believed"},
		{name: "a thousand servers", endpoint: members(server, 90_000)},
		{name: "as many members as may be", endpoint: members(`,{"Name":"#","Status":1,"Tags":{"role":"node"}}`, 1<<20)},
		{name: "ports: noise", port: bytesOf("", string(random))},
		{name: "ports: zeros", port: bytesOf("", "\x00")}, // More are in the tests of package probe.
		{name: "ports: silence", port: func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
	}
}

// expectRecovery lets the agent answer rightly, and expects the exporter to take what it says. It knows of one server
// again.
func (h *hostileConsul) expectRecovery(t *testing.T, e *harness.Exporter) {
	t.Helper()
	h.endpoint.Store(nil)
	h.port.Store(nil)
	e.Scrape(t).Expect(t, harness.Samples{
		"consul_up": 1, `consul_cluster_servers{state="alive"}`: 1,
		`consul_exporter_collector_success{collector="members"}`: 1,
		`consul_exporter_collector_success{collector="raft"}`:    1,
	})
}
