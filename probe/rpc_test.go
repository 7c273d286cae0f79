// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

var update = flag.Bool("update", false, "capture the golden files anew from a real Consul")

// goldenRPC has what a real server sent in answer to askRaft, in hexadecimal.
const goldenRPC = "testdata/rpc_answer.hex"

// captureRPC asks the server of a one-server cluster and writes down its answer.
func captureRPC(t *testing.T) {
	t.Helper()
	c := consultest.Start(t, consultest.Options{Servers: 1})
	var wiretap tap
	res := New(Options{Dial: wiretap.dial}).RPC(t.Context(), Target{Address: c.Servers[0].Addr + ":8300"})
	must.Do(t, res.Err)
	leader := res.Raft.Leader
	// The address differs with each cluster; one of the same length keeps the bytes valid.
	placeholder := "127.0.0.1" + strings.Repeat("0", len(leader)-len("127.0.0.1:8300")) + ":8300"
	answer := bytes.ReplaceAll(wiretap.g.answer, []byte(leader), []byte(placeholder))
	must.Do(t, os.WriteFile(goldenRPC, []byte(hex.EncodeToString(answer)+"\n"), 0o644))
}

func readGolden(tb testing.TB, path string) []byte {
	tb.Helper()
	text := must.Get(os.ReadFile(path))(tb)
	return must.Get(hex.DecodeString(strings.TrimSpace(string(text))))(tb)
}

func TestAskRaft_Golden(t *testing.T) {
	if *update {
		captureRPC(t)
	}
	answer := readGolden(t, goldenRPC)
	var sent bytes.Buffer
	var view RaftView
	// One byte at a time: the answer may come in any pieces.
	must.Do(t, askRaft(readWriter{iotest.OneByteReader(bytes.NewReader(answer)), &sent}, &view))
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

// Every answer that ends too early is an error, and none is a panic.
func TestAskRaft_Torn(t *testing.T) {
	t.Parallel()
	answer := readGolden(t, goldenRPC)
	for n := range answer {
		var view RaftView
		err := askRaft(readWriter{bytes.NewReader(answer[:n]), io.Discard}, &view)
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
		err := askRaft(readWriter{bytes.NewReader(answer), io.Discard}, &view)
		if (err == nil) != (ReasonOf(err) == "") {
			t.Errorf("error %v has reason %q", err, ReasonOf(err))
		}
		if err != nil && (view.LeaderKnown || view.PeersKnown || view.StatsKnown) {
			t.Errorf("a failed probe has a view: %+v", view)
		}
	})
}
