// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// fuzzKey is that of the encrypted side of the fuzz targets.
var fuzzKey = bytes.Repeat([]byte("k"), 16)

// seed adds what was captured from Consul, and beginnings of it, to a corpus.
func seed(f *testing.F, prefix string) {
	f.Helper()
	for _, c := range slices.Concat(plainCaptures, sealedCaptures) {
		if !strings.HasPrefix(c.name, prefix) {
			continue
		}
		g := readExchange(f, c.name)
		f.Add(g.answer)
		f.Add(g.answer[:len(g.answer)/2])
	}
}

func seedSerf(f *testing.F) {
	f.Helper()
	ack := ackMessage(7)
	for _, b := range [][]byte{
		nil, ack, crcMessage(ack), compoundMessage(ack, ack), compressedMessage(0, ack), errorMessage("decrypt"),
		compressedMessage(0, compoundMessage(compressedMessage(0, ack), ack)),
		{serfEncrypted, 0xff, 0xff, 0xff, 0xff},
	} {
		f.Add(b)
	}
}

func FuzzSerfPacket(f *testing.F) {
	seed(f, "serf_udp")
	seedSerf(f)
	plain, sealed, keyed := mustWire(f), mustWire(f, goldenKey), mustWire(f, fuzzKey)
	f.Fuzz(func(t *testing.T, b []byte) {
		acks, _ := plain.decodePacket(b)
		if len(acks) > serfMessages {
			t.Errorf("got %d acknowledgements", len(acks))
		}
		_, _ = sealed.decodePacket(b)
		// What is inside an encrypted packet is decoded as if it were not encrypted.
		if got, _ := keyed.decodePacket(keyed.encodePacket(b)); !slices.Equal(got, acks) {
			t.Errorf("got acknowledgements %v encrypted and %v in plain text", got, acks)
		}
	})
}

func FuzzSerfStream(f *testing.F) {
	seed(f, "serf_tcp")
	seedSerf(f)
	plain, sealed := mustWire(f), mustWire(f, goldenKey)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = plain.decodeStream(bytes.NewReader(b))
		_, _ = sealed.decodeStream(bytes.NewReader(b))
		_ = plain.pingStream(readWriter{bytes.NewReader(b), new(bytes.Buffer)}, 7)
	})
}

func FuzzDecrypt(f *testing.F) {
	w := mustWire(f, bytes.Repeat([]byte("o"), 32), fuzzKey)
	f.Add([]byte(nil), []byte(nil))
	f.Add(mustWire(f, fuzzKey).encodePacket(encodePing(1)), []byte(nil))
	f.Add(bytes.Repeat([]byte{0}, serfOverhead), []byte("blue"))
	f.Fuzz(func(t *testing.T, b, additional []byte) {
		if plain, err := w.decrypt(b, additional); err == nil && len(plain) > len(b)-serfOverhead {
			t.Errorf("got %d bytes out of %d", len(plain), len(b))
		}
		_, _ = unpad(b)
		sealed := w.encrypt(nil, b, additional)
		if sealed[0] != serfMaxVersion || bytes.Equal(sealed, w.encrypt(nil, b, additional)) {
			t.Errorf("got %x twice, or of another version than %d", sealed, serfMaxVersion)
		}
		if plain, err := w.decrypt(sealed, additional); err != nil || !bytes.Equal(plain, b) {
			t.Errorf("got %x back, error %v; want %x", plain, err, b)
		}
		if _, err := w.decrypt(sealed, append(slices.Clone(additional), 1)); err == nil {
			t.Error("other additional data passes")
		}
	})
}

func FuzzDNSAnswer(f *testing.F) {
	seed(f, "dns")
	query, packet, err := dnsQuery("")
	must.Do(f, err)
	query.Id = 0x1234
	packet[0], packet[1] = 0x12, 0x34
	packet[2] |= 0x80
	f.Add(packet)
	f.Fuzz(func(t *testing.T, b []byte) {
		var res DNSResult
		if decodeDNS(b, query, &res) == nil && (len(b) < 2 || b[0] != 0x12 || b[1] != 0x34) {
			t.Errorf("the answer to another question passes: %x", b)
		}
		answer, err := askDNSStream(readWriter{bytes.NewReader(b), new(bytes.Buffer)}, packet)
		if err == nil {
			_ = new(dns.Msg).Unpack(answer)
		}
	})
}

func FuzzHTTPAnswer(f *testing.F) {
	seed(f, "http")
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\n\r\n\"\"", "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\"\"\r\n0\r\n\r\n", "HTTP/1.0 429 x\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := askHTTP(readWriter{bytes.NewReader(b), new(bytes.Buffer)}, "localhost"); err == nil &&
			!bytes.HasPrefix(b, []byte("HTTP/")) {
			t.Errorf("passes for an answer: %q", b)
		}
	})
}

// FuzzGRPCAnswer is about the connection that is lent to the gRPC library, whose decoders are its own.
func FuzzGRPCAnswer(f *testing.F) {
	seed(f, "grpc")
	f.Fuzz(func(_ *testing.T, b []byte) {
		client, server := net.Pipe()
		_ = server.SetDeadline(time.Now().Add(time.Second))
		var serving sync.WaitGroup
		serving.Go(func() { _, _ = io.Copy(io.Discard, server) })
		serving.Go(func() {
			_, _ = server.Write(b)
			server.Close()
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = askGRPC(ctx, client)
		client.Close()
		serving.Wait()
	})
}
