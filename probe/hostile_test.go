// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"bytes"
	"cmp"
	"compress/lzw"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

var gossipKey = []byte("0123456789abcdef")

// tcpProtocols are the probes over TCP, for a listener on 127.0.0.1.
var tcpProtocols = []struct {
	name, probe string
	how         how
	// half is the beginning of a valid answer.
	half string
	// turnedAway is the reason if the connection is closed without a byte.
	turnedAway probe.Reason
}{
	{"rpc", "rpc", how{}, "\x84\xa5Error\xa0\xa3Seq\x00\xadServiceMeth", probe.ReasonLimit},
	{"serf", "serf tcp", how{}, "\x02\x82\xa5SeqNo", probe.ReasonReset},
	{
		"serf encrypted", "serf tcp",
		how{serf: probe.SerfTarget{Encrypted: true, Keys: [][]byte{gossipKey}}},
		"\x0a\x00\x00\x00\x40\x01123456789012", probe.ReasonReset,
	},
	{"http", "http", how{}, "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n\"127.0.0", probe.ReasonReset},
	{
		"grpc", "grpc",
		how{},
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x30\x01\x04\x00\x00\x00\x01\x88", probe.ReasonReset,
	},
	{"dns", "dns tcp", how{}, "\x00\x40\x12\x34\x80\x00", probe.ReasonReset},
}

// listen runs a TCP server for a test. Each connection is served until the function returns; done is closed when the
// test ends.
func listen(t *testing.T, serve func(conn *net.TCPConn, done <-chan struct{})) (address string) {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				defer stop()
				serve(conn.(*net.TCPConn), ctx.Done())
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// request reads what the probe asks; no request comes in more than some pieces.
func request(conn net.Conn) []byte {
	b := make([]byte, 4096)
	n, _ := conn.Read(b)
	return b[:n]
}

// send answers a request and closes its side.
func send(text string) func(*net.TCPConn, <-chan struct{}) {
	answer := []byte(text) // Before memory is measured: writing a string makes a copy.
	return func(conn *net.TCPConn, _ <-chan struct{}) {
		request(conn)
		_, _ = conn.Write(answer)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
}

// sendAndHold answers and then sends nothing more.
func sendAndHold(text string) func(*net.TCPConn, <-chan struct{}) {
	answer := []byte(text)
	return func(conn *net.TCPConn, done <-chan struct{}) {
		request(conn)
		_, _ = conn.Write(answer)
		<-done
	}
}

// reset reads the request and resets the connection.
func reset(conn *net.TCPConn, _ <-chan struct{}) {
	request(conn)
	_ = conn.SetLinger(0)
}

func endless(pattern []byte) func(*net.TCPConn, <-chan struct{}) {
	return func(conn *net.TCPConn, _ <-chan struct{}) {
		block := bytes.Repeat(pattern, 1+16384/len(pattern))
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	}
}

// allocated returns how much memory f allocates, as far as nothing else runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHostileListeners is not parallel, since it measures memory: each case must end in time and with little of it.
func TestHostileListeners(t *testing.T) {
	random := make([]byte, 64<<10)
	_, _ = mathrand.NewChaCha8([32]byte{7}).Read(random)

	for _, proto := range tcpProtocols {
		for _, tc := range []struct {
			name  string
			serve func(*net.TCPConn, <-chan struct{})
			want  []probe.Reason
		}{
			{"closes at once", func(conn *net.TCPConn, _ <-chan struct{}) {
				_ = conn.CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
			}, []probe.Reason{proto.turnedAway}},
			{"closes after the request", func(conn *net.TCPConn, _ <-chan struct{}) {
				request(conn)
			}, []probe.Reason{proto.turnedAway, probe.ReasonReset}},
			{"resets", reset, []probe.Reason{probe.ReasonReset}},
			{"is silent", sendAndHold(""), []probe.Reason{probe.ReasonTimeout}},
			{"half an answer, then closes", send(proto.half), []probe.Reason{probe.ReasonReset}},
			{"half an answer, then silence", sendAndHold(proto.half), []probe.Reason{probe.ReasonTimeout}},
			{
				"another protocol", sendAndHold("SSH-2.0-OpenSSH_9.6\r\n"),
				[]probe.Reason{probe.ReasonProtocol, probe.ReasonTimeout},
			},
			{"random bytes", send(string(random)), []probe.Reason{probe.ReasonProtocol, probe.ReasonReset}},
			{"endless random bytes", endless(random), []probe.Reason{probe.ReasonProtocol, probe.ReasonReset}},
			{"endless text", endless([]byte("A")), []probe.Reason{probe.ReasonProtocol}},
			{"endless zeros", endless([]byte{0}), []probe.Reason{probe.ReasonProtocol}},
			{"endless nil", endless([]byte{0xc0}), []probe.Reason{probe.ReasonProtocol}},
			{"endless ones", endless([]byte{0xff}), []probe.Reason{probe.ReasonProtocol}},
			{"endless arrays", endless([]byte{0x91}), []probe.Reason{probe.ReasonProtocol}},
		} {
			t.Run(proto.name+"/"+tc.name, func(t *testing.T) {
				checkHostile(t, tc.want, proto.probe, listen(t, tc.serve), proto.how)
			})
		}
	}
}

// timeoutFor is short if a timeout is what is wanted, and else too long to be the reason, even on a busy machine.
func timeoutFor(want ...probe.Reason) time.Duration {
	if slices.Contains(want, probe.ReasonTimeout) {
		return 400 * time.Millisecond
	}
	return patience
}

// checkHostile makes a probe that must fail with one of these reasons, in time and with little memory.
func checkHostile(t *testing.T, want []probe.Reason, name, address string, h how) {
	t.Helper()
	p := probe.New(probe.Options{})
	defer p.Close()
	timeout := timeoutFor(want...)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var res probe.Result
	most := uint64(4 << 20)
	if name == "grpc" {
		most = 32 << 20 // To answer thousands of pings it takes 3 MB, and with the race detector up to 13.
	}
	if got := allocated(func() { res = probeBy(ctx, name, p, address, h) }); got > most {
		t.Errorf("got %d bytes allocated, want %d at most", got, most)
	}
	if res.Up || res.Verified || res.Err == nil || !slices.Contains(want, res.Reason) {
		t.Errorf("got up %t, verified %t, reason %q, error %v; want down with reason %q",
			res.Up, res.Verified, res.Reason, res.Err, want)
	}
	if res.Duration > timeout+5*time.Second {
		t.Errorf("got a duration of %v, want %v at most", res.Duration, timeout)
	}
}

func TestHostileLengths(t *testing.T) {
	for _, tc := range []struct {
		name, proto, answer string
		want                probe.Reason
	}{
		{"string of 4 GB as an error", "rpc", "\x83\xa5Error\xdb\xff\xff\xff\xff", probe.ReasonReset},
		{
			"string that does not end", "rpc", "\x83\xa5Error\xdb\xff\xff\xff\xff" + strings.Repeat("x", 1<<18),
			probe.ReasonProtocol,
		},
		{"deep nesting", "rpc", strings.Repeat("\x81\xa1x", 1<<18), probe.ReasonProtocol},
		{"answer to another call", "rpc", rpcAnswer(0, "Status.Pong", "\x80"), probe.ReasonProtocol},
		{"map of 4 G entries", "rpc", "\xdf\xff\xff\xff\xff\xa3Seq\x00", probe.ReasonReset},
		{"payload of 4 GB", "serf", "\x02\x82\xa7Payload\xc6\xff\xff\xff\xff", probe.ReasonReset},
		{"compressed message of 4 GB", "serf", "\x09\x82\xa4Algo\x00\xa3Buf\xdb\xff\xff\xff\xff", probe.ReasonReset},
		{"array of 4 G entries", "serf", "\x02\xdd\xff\xff\xff\xff\x01", probe.ReasonReset},
		{"compression bomb", "serf", "\x09\x82\xa4Algo\x00\xa3Buf" + bomb(), probe.ReasonProtocol},
		{"encrypted message of 4 GB", "serf encrypted", "\x0a\xff\xff\xff\xff\x01", probe.ReasonProtocol},
		{"encrypted message of nothing", "serf encrypted", "\x0a\x00\x00\x00\x00", probe.ReasonProtocol},
		{"encrypted for nobody", "serf encrypted", "\x0a\x00\x00\x00\x20\x01" + strings.Repeat("x", 31), probe.ReasonAuth},
		{"encrypted though nothing is", "serf", "\x0a\x00\x00\x00\x20\x01" + strings.Repeat("x", 31), probe.ReasonAuth},
		{"body of a terabyte", "http", "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n\"", probe.ReasonProtocol},
		{"endless header", "http", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), probe.ReasonProtocol},
		{"endless headers", "http", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 1<<18), probe.ReasonProtocol},
		{"endless body", "http", "HTTP/1.1 200 OK\r\n\r\n\"" + strings.Repeat("x", 1<<20), probe.ReasonProtocol},
		{
			"endless chunks", "http",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 1<<18), probe.ReasonProtocol,
		},
		{"compressed body", "http", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08", probe.ReasonProtocol},
		{
			"frame of 16 MB", "grpc", "\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\x01\x04\x00\x00\x00\x01",
			probe.ReasonProtocol,
		},
		{
			"pings without an end", "grpc",
			"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678", 1<<16),
			probe.ReasonProtocol,
		},
		{"more records than bytes", "dns", "\x00\x0c\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff", probe.ReasonProtocol},
		{
			"name that points at itself", "dns",
			"\x00\x12\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01", probe.ReasonProtocol,
		},
	} {
		t.Run(tc.proto+"/"+tc.name, func(t *testing.T) {
			for _, proto := range tcpProtocols {
				if proto.name == tc.proto {
					checkHostile(t, []probe.Reason{tc.want}, proto.probe, listen(t, send(tc.answer)), proto.how)
				}
			}
		})
	}
}

// rpcAnswer is an answer on port 8300 without an error.
func rpcAnswer(seq rune, method, reply string) string {
	return "\x83\xa5Error\xa0\xa3Seq" + string(seq) + "\xadServiceMethod" + string([]byte{0xa0 | byte(len(method))}) +
		method + reply
}

// raftAnswer is what a server without a leader answers on port 8300.
func raftAnswer(peers string) string {
	return rpcAnswer(0, "Status.Ping", "\x80") + rpcAnswer(1, "Status.Leader", "\xa0") +
		rpcAnswer(2, "Status.Peers", peers) + rpcAnswer(3, "Status.RaftStats", "\x80")
}

// bomb is a msgpack string that inflates to 64 MB.
func bomb() string {
	var b bytes.Buffer
	w := lzw.NewWriter(&b, lzw.LSB, 8)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = w.Write(zeros)
	}
	w.Close()
	return string(binary.BigEndian.AppendUint32([]byte{0xdb}, uint32(b.Len()))) + b.String()
}

// A server that names many peers, which take a byte each, is not believed.
func TestTooManyPeers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		peers int
		want  probe.Reason
	}{{1000, ""}, {1001, probe.ReasonProtocol}, {60_000, probe.ReasonProtocol}} {
		peers := "\xdc" + string(binary.BigEndian.AppendUint16(nil, uint16(tc.peers))) + strings.Repeat("\xa0", tc.peers)
		address := listen(t, send(raftAnswer(peers)))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		res := newProber(t).RPC(ctx, probe.Target{Address: address})
		wantReason(t, "rpc", res.Result, tc.want)
		if got := len(res.Raft.Peers); (got > 0) != (tc.want == "") {
			t.Errorf("got %d peers of %d", got, tc.peers)
		}
	}
}

func TestHostileGRPCAnswers(t *testing.T) {
	frame := func(kind, flags, stream byte, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}) + payload
	}
	const (
		data, headers, reset, goAway = 0, 1, 3, 7
		endStream, endHeaders        = 1, 4
		fields                       = "\x88\x5f\x10application/grpc" // :status 200, content-type
		status                       = "\x00\x0bgrpc-status"
	)
	for _, tc := range []struct {
		name, answer string
		want         probe.Reason
	}{
		{"status", frame(headers, endHeaders|endStream, 1, fields+status+"\x0216"), ""},
		{
			"message of 4 GB", frame(headers, endHeaders, 1, fields) + frame(data, 0, 1, "\x00\xff\xff\xff\xff"),
			probe.ReasonProtocol,
		},
		{
			"compressed message", frame(headers, endHeaders, 1, fields) + frame(data, 0, 1, "\x01\x00\x00\x00\x04bomb"),
			probe.ReasonProtocol,
		},
		{"no status", frame(headers, endHeaders, 1, fields) + frame(data, endStream, 1, ""), probe.ReasonProtocol},
		{"status that is no number", frame(headers, endHeaders|endStream, 1, fields+status+"\x03abc"), probe.ReasonProtocol},
		{"not gRPC", frame(headers, endHeaders|endStream, 1, "\x88\x5f\x09text/html"), probe.ReasonProtocol},
		{"stream reset", frame(reset, 0, 1, "\x00\x00\x00\x02"), probe.ReasonProtocol},
		{"connection given up, then silence", frame(goAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x0b"), probe.ReasonProtocol},
		{"nothing", "", probe.ReasonTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			address := listen(t, func(conn *net.TCPConn, done <-chan struct{}) {
				_, _ = io.WriteString(conn, frame(4, 0, 0, "")) // settings
				_, _ = io.ReadFull(conn, make([]byte, 24))
				for kind := byte(4); kind != headers; {
					var head [9]byte
					if _, err := io.ReadFull(conn, head[:]); err != nil {
						return
					}
					_, _ = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[:4])>>8))
					kind = head[3]
				}
				_, _ = io.WriteString(conn, tc.answer)
				<-done
			})
			wantReason(t, "grpc", ask(t, timeoutFor(tc.want), "grpc", address, how{}), tc.want)
		})
	}
}

// datagrams runs a UDP server for a test. It gives each request and its number, from 1, to the function, and sends what
// that returns.
func datagrams(
	t *testing.T, answer func(request []byte, number int) [][]byte,
) (address string, received *atomic.Int64) {
	t.Helper()
	conn := must.Get(net.ListenPacket("udp", "127.0.0.1:0"))(t)
	received = new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			for _, reply := range answer(slices.Clone(b[:n]), int(received.Add(1))) {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return conn.LocalAddr().String(), received
}

// serfAck answers a ping; the number is at a fixed place in it.
func serfAck(ping []byte) []byte {
	return slices.Concat([]byte("\x02\x82\xa5SeqNo\xce"), ping[9:13], []byte("\xa7Payload\xc0"))
}

func dnsAnswer(query []byte) []byte {
	b := slices.Clone(query)
	b[2] |= 0x80
	return b
}

// flip inverts a byte of the request.
func flip(request []byte, i int) []byte {
	b := slices.Clone(request)
	b[i] ^= 0xff
	return b
}

// udpProtocols are the probes over UDP, with a good answer and the answer to another request.
var udpProtocols = []struct {
	name          string
	answer, other func(request []byte) []byte
}{
	{"serf udp", serfAck, func(request []byte) []byte { return serfAck(flip(request, 10)) }},
	{"dns udp", dnsAnswer, func(request []byte) []byte { return dnsAnswer(flip(request, 0)) }},
}

// A server with several addresses may answer gossip from another one than it was asked at, and DNS may not.
func TestDatagrams_OtherSource(t *testing.T) {
	t.Parallel()
	want := map[string]probe.Reason{"serf udp": "", "dns udp": probe.ReasonTimeout}
	for _, proto := range udpProtocols {
		t.Run(proto.name, func(t *testing.T) {
			t.Parallel()
			asked := must.Get(net.ListenPacket("udp", "127.0.0.1:0"))(t)
			answers := must.Get(net.ListenPacket("udp", "127.0.0.2:0"))(t)
			var wg sync.WaitGroup
			wg.Go(func() {
				b := make([]byte, 4096)
				for {
					n, from, err := asked.ReadFrom(b)
					if err != nil {
						return
					}
					_, _ = answers.WriteTo(proto.answer(b[:n]), from)
				}
			})
			t.Cleanup(func() {
				asked.Close()
				wg.Wait()
				answers.Close()
			})
			res := ask(t, 2*time.Second, proto.name, asked.LocalAddr().String(), how{})
			wantReason(t, proto.name, res, want[proto.name])
		})
	}
}

func TestDatagrams(t *testing.T) {
	const timeout = 1800 * time.Millisecond
	const late = 200 * time.Millisecond // A busy machine may begin the probe after its time has begun.
	random := make([]byte, 2000)
	_, _ = rand.Read(random)

	for _, proto := range udpProtocols {
		for _, tc := range []struct {
			name   string
			answer func(request []byte, number int) [][]byte
			// want is the reason; empty means up. Without an answer a probe takes all of its time.
			want probe.Reason
			// least bounds the duration.
			least time.Duration
			// asked is how often the server is asked; 0 means that it does not matter.
			asked int64
		}{
			{"answers", func(b []byte, _ int) [][]byte { return [][]byte{proto.answer(b)} }, "", 0, 1},
			{"loses the first", func(b []byte, number int) [][]byte {
				if number == 1 {
					return nil
				}
				return [][]byte{proto.answer(b)}
			}, "", timeout / 3, 2},
			{"is silent", func([]byte, int) [][]byte { return nil }, probe.ReasonTimeout, timeout, 2},
			{"random bytes", func([]byte, int) [][]byte { return [][]byte{random} }, probe.ReasonProtocol, timeout, 2},
			{"nothing in a datagram", func([]byte, int) [][]byte { return [][]byte{{}} }, probe.ReasonProtocol, timeout, 2},
			{"random bytes and then the answer", func(b []byte, _ int) [][]byte {
				return [][]byte{random, {}, proto.answer(b)}
			}, "", 0, 1},
			{"answers something else", func(b []byte, _ int) [][]byte {
				return [][]byte{proto.other(b)}
			}, probe.ReasonProtocol, timeout, 2},
			{"half an answer", func(b []byte, _ int) [][]byte {
				whole := proto.answer(b)
				return [][]byte{whole[:len(whole)/3]}
			}, probe.ReasonProtocol, timeout, 2},
			{"does not stop", func([]byte, int) [][]byte {
				return slices.Repeat([][]byte{random}, 200)
			}, probe.ReasonProtocol, 0, 0},
		} {
			t.Run(proto.name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				address, received := datagrams(t, tc.answer)
				res := ask(t, timeout, proto.name, address, how{})
				wantReason(t, proto.name, res, tc.want)
				most := timeout
				if tc.want != "" {
					most += 5 * time.Second
				}
				if res.Duration < tc.least-late || res.Duration > most {
					t.Errorf("got duration %v, want %v to %v", res.Duration, tc.least, most)
				}
				if got := received.Load(); tc.asked != 0 && got != tc.asked {
					t.Errorf("got %d questions, want %d", got, tc.asked)
				}
			})
		}
		t.Run(proto.name+"/nobody listens", func(t *testing.T) {
			t.Parallel()
			conn := must.Get(net.ListenPacket("udp", "127.0.0.1:0"))(t)
			address := conn.LocalAddr().String()
			conn.Close()
			wantReason(t, proto.name, ask(t, patience, proto.name, address, how{}), probe.ReasonRefused)
		})
		t.Run(proto.name+"/cancelled", func(t *testing.T) {
			t.Parallel()
			address, _ := datagrams(t, func([]byte, int) [][]byte { return nil })
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			res := probeBy(ctx, proto.name, probe.New(probe.Options{}), address, how{})
			wantReason(t, proto.name, res, probe.ReasonTimeout)
		})
	}
}

func TestSerfTargetThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	p := probe.New(probe.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("the probe dials")
		return nil, errors.New("no")
	}})
	short := probe.SerfTarget{Address: "127.0.0.1:1", Encrypted: true, Keys: [][]byte{gossipKey, []byte("short")}}
	wantReason(t, "short key", p.SerfTCP(t.Context(), short), probe.ReasonProtocol)
	wantReason(t, "short key", p.SerfUDP(t.Context(), short), probe.ReasonProtocol)
	if res := p.SerfUDP(t.Context(), probe.SerfTarget{Address: "127.0.0.1:1", Encrypted: true}); !res.Skipped {
		t.Errorf("got %+v, want a skipped result", res)
	}
	if res := p.DNSUDP(t.Context(), probe.DNSTarget{Address: "127.0.0.1:1", Domain: strings.Repeat("d", 64)}); res.Up ||
		res.Err == nil {
		t.Errorf("got %+v, want an error", res)
	}
}

func TestSerfWithoutKeyOnHostileListeners(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		serve func(*net.TCPConn, <-chan struct{})
		want  probe.Reason
	}{
		{"closes", send(""), ""},
		{"resets", reset, probe.ReasonReset},
		{"talks", send("hello"), probe.ReasonProtocol},
		{"talks without an end", endless([]byte("hello")), probe.ReasonProtocol},
		{"is silent", sendAndHold(""), probe.ReasonTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			keyless := how{serf: probe.SerfTarget{Encrypted: true}}
			res := ask(t, timeoutFor(tc.want), "serf tcp", listen(t, tc.serve), keyless)
			if res.Up != (tc.want == "") || res.Verified || res.Reason != tc.want {
				t.Errorf("got up %t, verified %t, reason %q, error %v; want reason %q", res.Up, res.Verified, res.Reason, res.Err,
					tc.want)
			}
		})
	}
}

func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		status int
		body   string
		up     bool
		want   probe.Reason
	}{
		{"leader", 200, `"127.0.0.1:8300"`, true, ""},
		{"no leader", 200, `""`, true, ""},
		{"may not ask", 403, "ACL not found", true, probe.ReasonAuth},
		{"asks too much", 429, "Your IP is issuing too many concurrent connections", true, probe.ReasonLimit},
		{"another server", 200, "<html></html>", false, probe.ReasonProtocol},
		{"a number", 200, "17", false, probe.ReasonProtocol},
		{"empty", 200, "", false, probe.ReasonProtocol},
		{"elsewhere", 301, "", false, probe.ReasonProtocol},
		{"not found", 404, "404 page not found", false, probe.ReasonProtocol},
		{"no server", 500, "No known Consul servers", true, ""},
		{"error", 500, "out of order", false, probe.ReasonProtocol},
		{"error of a proxy", 500, "<html>unexpected EOF</html>", false, probe.ReasonProtocol},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.String() != "/v1/status/leader" || len(r.Header["X-Consul-Token"]) > 0 {
					t.Errorf("got %s %s with header %v", r.Method, r.URL, r.Header)
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			defer server.Close()
			res := ask(t, patience, "http", server.Listener.Addr().String(), how{})
			if res.Up != tc.up || res.Verified != tc.up || res.Reason != tc.want || (res.Err == nil) != (tc.want == "") {
				t.Errorf("got up %t, verified %t, reason %q, error %v; want up %t, reason %q", res.Up, res.Verified, res.Reason,
					res.Err, tc.up, tc.want)
			}
		})
	}
}

// dataplane answers with a status.
type dataplane struct {
	pbdataplane.UnimplementedDataplaneServiceServer
	err error
}

func (d dataplane) GetSupportedDataplaneFeatures(
	context.Context, *pbdataplane.GetSupportedDataplaneFeaturesRequest,
) (*pbdataplane.GetSupportedDataplaneFeaturesResponse, error) {
	return &pbdataplane.GetSupportedDataplaneFeaturesResponse{}, d.err
}

func TestGRPCStatuses(t *testing.T) {
	t.Parallel()
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			server := grpc.NewServer()
			pbdataplane.RegisterDataplaneServiceServer(server, dataplane{err: status.Error(code, "as told")})
			wantGRPC(t, server)
		})
	}
	t.Run("no such service", func(t *testing.T) {
		t.Parallel()
		wantGRPC(t, grpc.NewServer())
	})
	t.Run("another server with HTTP/2", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
		defer server.Close()
		wantReason(t, "grpc", ask(t, patience, "grpc", server.Listener.Addr().String(), how{}), probe.ReasonProtocol)
	})
}

// wantGRPC wants a gRPC server to be up.
func wantGRPC(t *testing.T, server *grpc.Server) {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	defer func() {
		server.Stop()
		<-served
	}()
	wantReason(t, "grpc", ask(t, patience, "grpc", l.Addr().String(), how{}), "")
}

func TestTLSServers(t *testing.T) {
	t.Parallel()
	ca, other := authority(t), authority(t, "somebody else")
	good, namesake := ca.issue(t, leaf{}), authority(t).issue(t, leaf{})
	expired := ca.issue(t, leaf{expires: -time.Hour})
	long := ca.issue(t, leaf{expires: 48 * time.Hour, withCA: true})
	demanding := func(version uint16) *tls.Config {
		return &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool, MaxVersion: version}
	}
	serving := func(cert tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	showing := func(cert tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{cert}}
	}
	choosing := func(config *tls.Config, err error) *tls.Config {
		return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return config, err }}
	}
	calling := func(cert *tls.Certificate, err error) *tls.Config {
		return &tls.Config{
			RootCAs:              ca.pool,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, err },
		}
	}
	trusting := &tls.Config{RootCAs: ca.pool}

	for _, tc := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		want   probe.Reason
		first  *x509.Certificate // The one that expires first.
		// turnedAway is whether the server rejects the client, and not only fails.
		turnedAway bool
	}{
		{"good", &tls.Config{}, trusting, "", good.Leaf, false},
		{"the authority expires first", serving(long), trusting, "", ca.cert, false},
		{"expired", serving(expired), trusting, probe.ReasonTLS, expired.Leaf, false},
		{"expired, not verified", serving(expired), &tls.Config{InsecureSkipVerify: true}, "", expired.Leaf, false},
		{"unknown authority", &tls.Config{}, &tls.Config{RootCAs: other.pool}, probe.ReasonTLS, good.Leaf, false},
		{
			"wrong name", &tls.Config{}, &tls.Config{RootCAs: ca.pool, ServerName: "server.dc1.consul"},
			probe.ReasonName, good.Leaf, false,
		},
		{"refused by VerifyConnection", &tls.Config{}, &tls.Config{
			RootCAs: ca.pool, VerifyConnection: func(tls.ConnectionState) error { return errors.New("no") },
		}, probe.ReasonTLS, good.Leaf, false},
		{
			"refused by VerifyPeerCertificate", &tls.Config{}, &tls.Config{RootCAs: ca.pool, VerifyPeerCertificate: refuse},
			probe.ReasonTLS, good.Leaf, false,
		},
		{"client certificate", demanding(0), showing(good), "", good.Leaf, false},
		{"client certificate by callback", demanding(0), calling(&good, nil), "", good.Leaf, false},
		{"no client certificate by callback", demanding(0), calling(nil, nil), probe.ReasonCertificate, good.Leaf, false},
		{
			"callback that fails", demanding(0), calling(nil, errors.New("not readable")),
			probe.ReasonOwnFault, good.Leaf, false,
		},
		{"no client certificate", demanding(0), trusting, probe.ReasonCertificate, good.Leaf, false},
		{"no client certificate, TLS 1.2", demanding(tls.VersionTLS12), trusting, probe.ReasonCertificate, good.Leaf, false},
		{"client certificate refused, TLS 1.3", demanding(0), showing(namesake), probe.ReasonCertificate, good.Leaf, true},
		{
			"client certificate refused, TLS 1.2", demanding(tls.VersionTLS12), showing(namesake),
			probe.ReasonCertificate, good.Leaf, true,
		},
		{
			"version too old", &tls.Config{MaxVersion: tls.VersionTLS12},
			&tls.Config{RootCAs: ca.pool, MinVersion: tls.VersionTLS13}, probe.ReasonTLS, nil, true,
		},
		{"server without a certificate", choosing(&tls.Config{}, nil), trusting, probe.ReasonTLS, nil, false},
		{"server fails", choosing(nil, errors.New("not ready")), trusting, probe.ReasonTLS, nil, false},
	} {
		if tc.server.Certificates == nil {
			tc.server.Certificates = []tls.Certificate{good}
		}
		// A server of each protocol that does no more than the handshake and one answer.
		for name, protocol := range tlsProtocols {
			t.Run(name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				address := listen(t, func(conn *net.TCPConn, _ <-chan struct{}) {
					if name == "rpc" {
						_, _ = io.ReadFull(conn, make([]byte, 1))
					}
					secured := tls.Server(conn, tc.server)
					defer secured.Close()
					if secured.Handshake() == nil {
						request(secured)
						_, _ = io.WriteString(secured, protocol.answer)
					}
				})
				res := ask(t, patience, name, address, how{tls: tc.client})
				if want := cmp.Or(tc.want, protocol.answered); res.Reason != want || res.TurnedAway() != tc.turnedAway {
					t.Errorf("got reason %q, error %v, turned away %v; want reason %q", res.Reason, res.Err, res.TurnedAway(), want)
				}
				var expiry time.Time
				var lifetime time.Duration
				if tc.first != nil {
					expiry, lifetime = tc.first.NotAfter, tc.first.NotAfter.Sub(tc.first.NotBefore)
				}
				if !res.CertExpiry.Equal(expiry) || res.CertLifetime != lifetime {
					t.Errorf("got expiry %v and lifetime %v, want %v and %v", res.CertExpiry, res.CertLifetime, expiry, lifetime)
				}
			})
		}
	}
}

// tlsProtocols are the probes over TLS, with what a server answers and the reason if it does.
var tlsProtocols = map[string]struct {
	answer   string
	answered probe.Reason
}{
	"http": {"HTTP/1.1 200 OK\r\n\r\n\"\"", ""},
	"rpc":  {"", probe.ReasonLimit},
	"grpc": {"", probe.ReasonReset},
}

func TestHostileTLS(t *testing.T) {
	t.Parallel()
	random := make([]byte, 64<<10)
	_, _ = rand.Read(random)
	random[0] = 0x55
	for _, tc := range []struct {
		name  string
		serve func(*net.TCPConn, <-chan struct{})
		want  probe.Reason
	}{
		{"is silent", sendAndHold(""), probe.ReasonTimeout},
		{"half a record", sendAndHold("\x16\x03\x03\x40\x00\x02"), probe.ReasonTimeout},
		{"half a record, then closes", send("\x16\x03\x03\x40\x00\x02"), probe.ReasonReset},
		{"closes", send(""), probe.ReasonReset},
		{"resets", reset, probe.ReasonReset},
		{"plain text", send("HTTP/1.0 400 Bad Request\r\n\r\n"), probe.ReasonTLS},
		{"alert", send("\x15\x03\x03\x00\x02\x02\x28"), probe.ReasonTLS},
		{"random bytes", send(string(random)), probe.ReasonTLS},
		{"random bytes without an end", endless(random), probe.ReasonTLS},
		{"oversized record", send("\x16\x03\x03\xff\xff" + strings.Repeat("x", 70000)), probe.ReasonTLS},
		{"oversized handshake message", send("\x16\x03\x03\x00\x04\x02\xff\xff\xff"), probe.ReasonTLS},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for name := range tlsProtocols {
				res := ask(t, timeoutFor(tc.want), name, listen(t, tc.serve), how{tls: &tls.Config{}})
				wantReason(t, name, res, tc.want)
				if most := timeoutFor(tc.want) + 5*time.Second; res.Duration > most {
					t.Errorf("%s: got duration %v, want %v at most", name, res.Duration, most)
				}
			}
		})
	}
}
