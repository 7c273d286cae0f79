// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/goleak"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// captureSource is where the captured probes come from. A server that knows a member with this name (a name that looks
// like an address) puts a checksum on what it sends there: memberlist looks the address up as if it were a name.
const captureSource = "127.77.0.2"

// goldenKey is the gossip key of the captured cluster.
var goldenKey = []byte("0123456789abcdef0123456789abcdef")

// golden is what a probe of a port other than 8300 sent and what Consul answered, as captured by TestCapture in one
// file each.
type golden struct{ request, answer []byte }

func goldenFile(name string) string { return filepath.Join("testdata", name+".hex") }

func readExchange(tb testing.TB, name string) golden {
	tb.Helper()
	text := must.Get(os.ReadFile(goldenFile(name)))(tb)
	var g golden
	for line := range strings.Lines(string(text)) {
		b, err := hex.DecodeString(strings.TrimSpace(line[1:]))
		if err != nil {
			tb.Fatalf("%s: %v", goldenFile(name), err)
		}
		switch line[0] {
		case '>':
			g.request = append(g.request, b...)
		case '<':
			g.answer = append(g.answer, b...)
		}
	}
	return g
}

// write writes a capture as lines of 32 bytes, ">" for what was sent and "<" for what came back.
func (g golden) write(name string) error {
	var b strings.Builder
	for _, part := range []struct {
		mark string
		data []byte
	}{{">", g.request}, {"<", g.answer}} {
		for chunk := range slices.Chunk(part.data, 32) {
			fmt.Fprintf(&b, "%s %x\n", part.mark, chunk)
		}
	}
	return os.WriteFile(goldenFile(name), []byte(b.String()), 0o644)
}

// DialFrom dials from a source address.
func DialFrom(source string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
		if network == "udp" {
			d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(source)}
		}
		return d.DialContext(ctx, network, address)
	}
}

// tap dials and records what goes over the connection.
type tap struct {
	mu sync.Mutex
	g  golden
}

func (t *tap) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := DialFrom(captureSource)(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &tappedConn{conn, t}, nil
}

type tappedConn struct {
	net.Conn
	tap *tap
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	c.tap.g.answer = append(c.tap.g.answer, b[:n]...)
	return n, err
}

func (c *tappedConn) Write(b []byte) (int, error) {
	c.tap.mu.Lock()
	c.tap.g.request = append(c.tap.g.request, b...)
	c.tap.mu.Unlock()
	return c.Conn.Write(b)
}

// CloseWrite implements what the end of an exchange needs.
func (c *tappedConn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// captured is one file of testdata.
type captured struct {
	name  string
	probe func(ctx context.Context, p *Prober, addr string) Result
	// wanted says whether this is the answer to keep; nil keeps any.
	wanted func(answer []byte) bool
	// gossip is sent along with the answer: bytes that cannot be compressed keep memberlist from compressing the whole.
	gossip []byte
}

// plainCaptures are those of a cluster without encryption, and sealedCaptures of one with it.
var plainCaptures = []captured{
	{name: "serf_tcp_lan", probe: serf((*Prober).SerfTCP, ":8301")},
	{name: "serf_tcp_wan", probe: serf((*Prober).SerfTCP, ":8302")},
	{name: "serf_udp_lan_crc", probe: serf((*Prober).SerfUDP, ":8301"), wanted: startsWith(serfCRC, serfAck)},
	{
		name: "serf_udp_lan_crc_compound", probe: serf((*Prober).SerfUDP, ":8301"),
		wanted: startsWith(serfCRC, serfCompound), gossip: noise(),
	},
	{
		name: "serf_udp_lan_crc_compressed", probe: serf((*Prober).SerfUDP, ":8301"),
		wanted: startsWith(serfCRC, serfCompressed), gossip: bytes.Repeat([]byte("gossip "), 30),
	},
	{name: "serf_udp_wan", probe: serf((*Prober).SerfUDP, ":8302"), wanted: startsWith(serfAck)},
	{name: "http", probe: func(ctx context.Context, p *Prober, addr string) Result {
		return p.HTTP(ctx, Target{Address: addr + ":8500"})
	}},
	{name: "grpc", probe: func(ctx context.Context, p *Prober, addr string) Result {
		return p.GRPC(ctx, Target{Address: addr + ":8502"})
	}},
	{name: "dns_udp", probe: func(ctx context.Context, p *Prober, addr string) Result {
		return p.DNSUDP(ctx, DNSTarget{Address: addr + ":8600"}).Result
	}},
	{name: "dns_tcp", probe: func(ctx context.Context, p *Prober, addr string) Result {
		return p.DNSTCP(ctx, DNSTarget{Address: addr + ":8600"}).Result
	}},
}

var sealedCaptures = []captured{
	{name: "serf_tcp_encrypted", probe: serf((*Prober).SerfTCP, ":8301", goldenKey)},
	{name: "serf_udp_encrypted", probe: serf((*Prober).SerfUDP, ":8301", goldenKey)},
}

func serf(
	ping func(*Prober, context.Context, SerfTarget) Result, port string, keys ...[]byte,
) func(context.Context, *Prober, string) Result {
	return func(ctx context.Context, p *Prober, addr string) Result {
		return ping(p, ctx, SerfTarget{Address: addr + port, Encrypted: len(keys) > 0, Keys: keys})
	}
}

// startsWith wants an answer of these types of messages; a checksum is skipped.
func startsWith(kinds ...byte) func([]byte) bool {
	return func(answer []byte) bool {
		var got []byte
		for len(answer) > 0 && len(got) < len(kinds) {
			got = append(got, answer[0])
			if answer[0] != serfCRC || len(answer) < 6 {
				break
			}
			answer = answer[5:]
		}
		return bytes.Equal(got, kinds)
	}
}

// TestCapture writes testdata, with -update.
func TestCapture(t *testing.T) {
	if !*update {
		return // What it wrote is what the other tests read.
	}
	plain := consultest.Start(t, consultest.Options{
		Servers: 2, NodeName: func(_ string, i int) string { return fmt.Sprintf("127.77.0.%d", i) },
	})
	capture(t, plain, plainCaptures)
	sealed := consultest.Start(t, consultest.Options{Servers: 1, GossipKey: base64.StdEncoding.EncodeToString(goldenKey)})
	capture(t, sealed, sealedCaptures)
}

// capture makes each probe, and user events in between, which memberlist sends along with its answers, until each
// answer has come in the form that is wanted.
func capture(t *testing.T, cluster *consultest.Cluster, all []captured) {
	t.Helper()
	for _, c := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var wiretap tap
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			wiretap.g = golden{}
			p := New(Options{Dial: wiretap.dial})
			p.dialAnySource = wiretap.dial // Its socket has no tap.
			res := c.probe(ctx, p, cluster.Servers[0].Addr)
			if !res.Up {
				t.Fatalf("%s: %v", c.name, res.Err)
			}
			if c.wanted == nil || c.wanted(wiretap.g.answer) {
				break
			}
			if c.gossip != nil {
				_, _, err := cluster.Servers[0].Client().Event().Fire(&api.UserEvent{Name: "golden", Payload: c.gossip}, nil)
				must.Do(t, err)
				continue
			}
			<-tick.C // Until what there is to gossip has been sent.
		}
		must.Do(t, wiretap.g.write(c.name))
	}
}

// noise returns bytes that cannot be compressed.
func noise() []byte {
	b := make([]byte, 200)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func TestGoldenSerf(t *testing.T) {
	t.Parallel()
	for _, c := range slices.Concat(plainCaptures, sealedCaptures) {
		stream := strings.HasPrefix(c.name, "serf_tcp")
		if !stream && !strings.HasPrefix(c.name, "serf_udp") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, wire := readExchange(t, c.name), mustWire(t)
			if strings.HasSuffix(c.name, "encrypted") {
				wire = mustWire(t, goldenKey)
			}
			decode := wire.decodePacket
			sealed, additional := g.request, []byte(nil)
			if stream {
				decode = func(b []byte) ([]uint32, error) {
					ack, err := wire.decodeStream(bytes.NewReader(b))
					return []uint32{ack}, err
				}
				sealed, additional = g.request[5:], g.request[:5]
			}
			ping := g.request
			if wire.ciphers != nil {
				ping = must.Get(wire.decrypt(sealed, additional))(t)
			}
			seq := pingNumber(t, ping)
			acks, err := decode(g.answer)
			if err != nil || !slices.Contains(acks, seq) {
				t.Errorf("got acknowledgements %v, error %v; want %d among them", acks, err, seq)
			}
			// Each beginning of an answer is an error, and none is a panic.
			for n := range len(g.answer) {
				acks, err := decode(g.answer[:n])
				if !stream {
					err = checkAcks(acks, seq+1, err)
				}
				if err == nil {
					t.Errorf("the first %d of %d bytes pass for the answer", n, len(g.answer))
				}
			}
		})
	}
}

// pingNumber returns the number in a captured ping, which must be just what is encoded today.
func pingNumber(t *testing.T, ping []byte) uint32 {
	t.Helper()
	if len(ping) < 13 {
		t.Fatalf("captured ping is %x", ping)
	}
	seq := binary.BigEndian.Uint32(ping[9:13])
	if want := encodePing(seq); !bytes.Equal(ping, want) {
		t.Errorf("got ping %x, want %x as captured", want, ping)
	}
	return seq
}
