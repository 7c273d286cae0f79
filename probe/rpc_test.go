// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"flag"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

var update = flag.Bool("update", false, "capture the golden files anew from a real Consul")

// goldenRPC has what a real server sent in answer to askRaft, in hexadecimal.
const goldenRPC = "testdata/rpc_answer.hex"

// recorder keeps what comes from a connection.
type recorder struct {
	io.ReadWriter
	sent, got bytes.Buffer
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.ReadWriter.Read(b)
	r.got.Write(b[:n])
	return n, err
}

func (r *recorder) Write(b []byte) (int, error) {
	r.sent.Write(b)
	return r.ReadWriter.Write(b)
}

// captureRPC asks the server of a one-server cluster and writes down its answer.
func captureRPC(t *testing.T) {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	conn, err := net.Dial("tcp", net.JoinHostPort(c.Servers[0].Addr, "8300"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rec := &recorder{ReadWriter: conn}
	var view RaftView
	if err := askRaft(rec, &view); err != nil {
		t.Fatal(err)
	}
	// The address differs with each cluster; one of the same length keeps the bytes valid.
	placeholder := "127.0.0.1" + strings.Repeat("0", len(view.Leader)-len("127.0.0.1:8300")) + ":8300"
	answer := bytes.ReplaceAll(rec.got.Bytes(), []byte(view.Leader), []byte(placeholder))
	if err := os.WriteFile(goldenRPC, []byte(hex.EncodeToString(answer)+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readGolden(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// fakeConn reads from one place and writes to another.
type fakeConn struct {
	io.Reader
	io.Writer
}

func TestAskRaft_Golden(t *testing.T) {
	if *update {
		captureRPC(t)
	}
	answer := readGolden(t, goldenRPC)
	var sent bytes.Buffer
	var view RaftView
	// One byte at a time: the answer may come in any pieces.
	if err := askRaft(fakeConn{&oneByte{r: bytes.NewReader(answer)}, &sent}, &view); err != nil {
		t.Fatal(err)
	}
	if got := sent.Bytes()[0]; got != rpcConsul {
		t.Errorf("first byte is %#x; want %#x", got, rpcConsul)
	}
	if view.Leader == "" || view.LastLogIndex == 0 {
		t.Errorf("view is %+v; want a leader and a log index", view)
	}
	want := RaftView{
		LeaderKnown: true, Leader: view.Leader,
		PeersKnown: true, Peers: []string{view.Leader},
		StatsKnown: true, LastLogIndex: view.LastLogIndex, LastLogTerm: 2,
		LastContactKnown: true, LastContact: 0,
	}
	if diff := cmp.Diff(want, view); diff != "" {
		t.Errorf("view differs (-want +got):\n%s", diff)
	}
}

// oneByte returns one byte for each Read.
type oneByte struct{ r io.Reader }

func (o *oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(1, len(b))]) }

// Every answer that ends too early is an error, and none is a panic.
func TestAskRaft_Torn(t *testing.T) {
	t.Parallel()
	answer := readGolden(t, goldenRPC)
	for n := range answer {
		var view RaftView
		err := askRaft(fakeConn{bytes.NewReader(answer[:n]), io.Discard}, &view)
		want := ReasonReset
		if n == 0 {
			want = ReasonLimit
		}
		if got := ReasonOf(err); got != want {
			t.Fatalf("after %d bytes the reason is %q (%v); want %q", n, got, err, want)
		}
	}
}

func TestParseLastContact(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in    string
		want  time.Duration
		known bool
	}{
		{"0", 0, true},
		{"never", 0, false},
		{"15.22ms", 15220 * time.Microsecond, true},
		{"1m2s", 62 * time.Second, true},
		{"", 0, false},
		{"-1s", -time.Second, false},
		{"junk", 0, false},
	} {
		if got, known := parseLastContact(tc.in); known != tc.known || (known && got != tc.want) {
			t.Errorf("parseLastContact(%q) = %s, %v; want %s, %v", tc.in, got, known, tc.want, tc.known)
		}
	}
}

// listen starts a server on loopback whose every connection is handled by serve, and which is gone with the test.
func listen(t *testing.T, serve func(*net.TCPConn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			serve(conn.(*net.TCPConn))
			stop()
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		cancel()
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func probeRPC(t *testing.T, p *Prober, address string, timeout time.Duration) RPCResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return p.RPC(ctx, Target{Address: address})
}

func TestRPC_NotAServer(t *testing.T) {
	t.Parallel()
	golden := readGolden(t, goldenRPC)
	readRequest := func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1024)) }
	const timeout = 2 * time.Second
	for _, tc := range []struct {
		name  string
		serve func(*net.TCPConn)
		want  []Reason
	}{
		{"random bytes", func(c *net.TCPConn) { _, _ = io.CopyN(c, rand.Reader, 1<<16) }, []Reason{ReasonProtocol, ReasonReset}},
		{"text", func(c *net.TCPConn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
		}, []Reason{ReasonProtocol}},
		{"nil for ever", func(c *net.TCPConn) {
			for {
				if _, err := c.Write(bytes.Repeat([]byte{0xc0}, 4096)); err != nil {
					return
				}
			}
		}, []Reason{ReasonProtocol}},
		{"endless string", func(c *net.TCPConn) {
			// A header whose error is a string of 4 GiB.
			_, _ = c.Write([]byte("\x83\xadServiceMethod\xabStatus.Ping\xa3Seq\x00\xa5Error\xdb\xff\xff\xff\xff"))
			for {
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, []Reason{ReasonProtocol}},
		{"deep nesting", func(c *net.TCPConn) { _, _ = c.Write(bytes.Repeat([]byte{0x81, 0xa1, 'x'}, 1<<18)) }, []Reason{ReasonProtocol}},
		{"silence", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, []Reason{ReasonTimeout}},
		{"half an answer, then silence", func(c *net.TCPConn) {
			_, _ = c.Write(golden[:len(golden)/2])
			_, _ = io.Copy(io.Discard, c)
		}, []Reason{ReasonTimeout}},
		{"half an answer, then closed", func(c *net.TCPConn) {
			readRequest(c)
			_, _ = c.Write(golden[:len(golden)/2])
		}, []Reason{ReasonReset}},
		{"closed after the request", readRequest, []Reason{ReasonLimit}},
		{"reset at once", func(c *net.TCPConn) { _ = c.SetLinger(0) }, []Reason{ReasonReset}},
		{"closed at once", func(*net.TCPConn) {}, []Reason{ReasonReset, ReasonLimit}},
		{"another answer", func(c *net.TCPConn) {
			readRequest(c)
			_, _ = c.Write(bytes.ReplaceAll(golden, []byte("Status.Ping"), []byte("Status.Pong")))
			_, _ = io.Copy(io.Discard, c)
		}, []Reason{ReasonProtocol}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := New(Options{})
			defer p.Close()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			res := probeRPC(t, p, listen(t, tc.serve), timeout)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if res.Up || !slices.Contains(tc.want, res.Reason) || res.Err == nil {
				t.Errorf("up %v, reason %q (%v); want one of %q", res.Up, res.Reason, res.Err, tc.want)
			}
			if took > timeout+5*time.Second {
				t.Errorf("took %s; want %s, or a little more", took, timeout)
			}
			// All parallel tests allocate into this figure; a decoder that trusts a length would add 4 GiB.
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 256<<20 {
				t.Errorf("allocated %d bytes; want a bounded number", grown)
			}
		})
	}
}

func TestRPC_NoConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for _, tc := range []struct {
		name, address string
		want          Reason
	}{
		{"refused", closed, ReasonRefused},
		{"no such name", "no-such-host.invalid:8300", ReasonResolve},
		{"no port", "127.0.0.1", ReasonResolve},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := New(Options{})
			defer p.Close()
			res := probeRPC(t, p, tc.address, 5*time.Second)
			if res.Reason != tc.want {
				t.Errorf("reason %q (%v); want %q", res.Reason, res.Err, tc.want)
			}
			if len(res.Phases) != 1 || res.Phases[0].Phase != PhaseConnect {
				t.Errorf("phases are %v; want connect only", res.Phases)
			}
		})
	}
}

// A server that hangs gets one connection, whatever the number of probes, and is asked again when it wakes up.
func TestRPC_SilentServer(t *testing.T) {
	t.Parallel()
	golden := readGolden(t, goldenRPC)
	wake := make(chan struct{})
	connections := make(chan struct{}, 100)
	address := listen(t, func(c *net.TCPConn) {
		connections <- struct{}{}
		<-wake
		_, _ = c.Read(make([]byte, 1024))
		_, _ = c.Write(golden)
		_, _ = io.Copy(io.Discard, c) // Until the prober closes.
	})
	p := New(Options{})
	defer p.Close()
	for range 3 {
		res := probeRPC(t, p, address, 500*time.Millisecond)
		if res.Reason != ReasonTimeout || len(res.Phases) != 2 || res.Phases[1].Phase != PhaseRequest {
			t.Fatalf("reason %q, phases %v; want a timeout of the request", res.Reason, res.Phases)
		}
	}
	if !p.Silent(address) {
		t.Error("the prober does not remember the silent server")
	}
	if n := len(connections); n != 1 {
		t.Errorf("the silent server has %d connections; want 1", n)
	}
	close(wake)
	if res := probeRPC(t, p, address, 5*time.Second); !res.Up {
		t.Errorf("after it woke up: reason %q (%v); want up", res.Reason, res.Err)
	}
	if p.Silent(address) {
		t.Error("the prober still takes the server for silent")
	}
	if n := len(connections); n != 2 {
		t.Errorf("the server has seen %d connections; want 2", n)
	}
}

func TestRetain(t *testing.T) {
	t.Parallel()
	address := listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c); <-t.Context().Done() })
	p := New(Options{})
	probeRPC(t, p, address, 50*time.Millisecond)
	p.Retain(func(a string) bool { return a == address })
	if !p.Silent(address) {
		t.Error("the connection to a known server is gone")
	}
	p.Retain(func(string) bool { return false })
	if p.Silent(address) {
		t.Error("the connection to an unknown server is still there")
	}
}

// A probe that ends after Close keeps nothing; goleak would see the connection's reader.
func TestClose_DuringProbe(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{})
	address := listen(t, func(c *net.TCPConn) { close(asked); _, _ = io.Copy(io.Discard, c) })
	p := New(Options{})
	result := make(chan RPCResult)
	go func() { result <- probeRPC(t, p, address, 2*time.Second) }()
	<-asked
	p.Close()
	if res := <-result; res.Reason != ReasonTimeout || p.Silent(address) {
		t.Errorf("reason %q, kept: %v; want a timeout and nothing kept", res.Reason, p.Silent(address))
	}
}

func FuzzAskRaft(f *testing.F) {
	golden := readGolden(f, goldenRPC)
	f.Add(golden)
	f.Add(golden[:len(golden)/2])
	f.Add(bytes.ReplaceAll(golden, []byte{0xa0}, []byte{0xc0}))
	f.Add(bytes.Repeat([]byte{0x81, 0xa1, 'x'}, 1000))
	f.Add([]byte("\x83\xadServiceMethod\xabStatus.Ping\xa3Seq\x00\xa5Error\xdb\xff\xff\xff\xff"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		var view RaftView
		err := askRaft(fakeConn{bytes.NewReader(answer), io.Discard}, &view)
		if (err == nil) != (ReasonOf(err) == "") {
			t.Errorf("error %v has reason %q", err, ReasonOf(err))
		}
		if err != nil && (view.LeaderKnown || view.PeersKnown || view.StatsKnown) {
			t.Errorf("a failed probe has a view: %+v", view)
		}
	})
}
