// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"compress/lzw"
	"crypto/aes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// The helpers below write what memberlist would, for the forms that Consul does not send on demand.

func ackMessage(seq uint32) []byte {
	return append(binary.BigEndian.AppendUint32([]byte("\x02\x82\xa5SeqNo\xce"), seq), "\xa7Payload\xc0"...)
}

func errorMessage(text string) []byte {
	return append([]byte{serfError, 0x81, 0xa5, 'E', 'r', 'r', 'o', 'r', 0xda, 0, byte(len(text))}, text...)
}

func compoundMessage(parts ...[]byte) []byte {
	b := []byte{serfCompound, byte(len(parts))}
	for _, part := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(part)))
	}
	return append(b, bytes.Join(parts, nil)...)
}

func compressedMessage(algo byte, msg []byte) []byte {
	var packed bytes.Buffer
	w := lzw.NewWriter(&packed, lzw.LSB, 8)
	_, _ = w.Write(msg)
	w.Close()
	b := append([]byte("\x09\x82\xa4Algo"), algo)
	b = binary.BigEndian.AppendUint32(append(b, "\xa3Buf\xdb"...), uint32(packed.Len()))
	return append(b, packed.Bytes()...)
}

func crcMessage(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{serfCRC}, crc32.ChecksumIEEE(msg)), msg...)
}

// mustWire encrypts if there are keys.
func mustWire(tb testing.TB, keys ...[]byte) *serfWire {
	tb.Helper()
	return must.Get(newSerfWire(SerfTarget{Encrypted: len(keys) > 0, Keys: keys}))(tb)
}

func TestDecodeSerfPacket(t *testing.T) {
	t.Parallel()
	key, other := bytes.Repeat([]byte("k"), 16), bytes.Repeat([]byte("o"), 32)
	plain, sealed, ring := mustWire(t), mustWire(t, key), mustWire(t, other, key)
	// A key is no reason to encrypt, and what is asked in plain text may be answered with encryption: while that is being
	// introduced, the two directions are switched on one after the other.
	oneWay := must.Get(newSerfWire(SerfTarget{Keys: [][]byte{key}}))(t)
	if ping := encodePing(7); !bytes.Equal(oneWay.encodePacket(ping), ping) {
		t.Error("what is asked in plain text is encrypted")
	}
	ack, gossip := ackMessage(7), []byte{4, 0x80}
	deep := ack
	for range serfDepth {
		deep = compoundMessage(deep)
	}
	damaged := crcMessage(ack)
	damaged[len(damaged)-1] ^= 1

	for _, tc := range []struct {
		name   string
		wire   *serfWire
		packet []byte
		// want is empty for an error.
		want []uint32
	}{
		{"acknowledgement", plain, ack, []uint32{7}},
		{"checksum", plain, crcMessage(ack), []uint32{7}},
		{"wrong checksum", plain, damaged, nil},
		{"compound", plain, compoundMessage(gossip, ack, ackMessage(8)), []uint32{7, 8}},
		{"compound with a part that makes no sense", plain, compoundMessage([]byte{99}, ack), []uint32{7}},
		{"compound with an empty part", plain, compoundMessage(nil, ack), []uint32{7}},
		{"compound of nothing", plain, compoundMessage(), nil},
		{"compound cut short", plain, compoundMessage(gossip, ack)[:12], nil},
		{"compound without lengths", plain, []byte{serfCompound, 200}, nil},
		{"compressed", plain, compressedMessage(0, ack), []uint32{7}},
		{"unknown compression", plain, compressedMessage(1, ack), nil},
		{"compressed nothing", plain, compressedMessage(0, nil), nil},
		{
			"checksum, compressed, compound", plain, crcMessage(compressedMessage(0, compoundMessage(gossip, ack))), []uint32{7},
		},
		{"too deep", plain, deep, nil},
		{"bomb", plain, compressedMessage(0, make([]byte, serfInflatedBytes+1)), nil},
		{"several that are too much together", plain, compoundMessage(
			compressedMessage(0, slices.Concat(ackMessage(1), make([]byte, serfInflatedBytes-100))),
			compressedMessage(0, slices.Concat(ackMessage(2), make([]byte, serfInflatedBytes-100))),
		), []uint32{1}},
		{"other gossip", plain, gossip, nil},
		{"nothing", plain, nil, nil},
		{"no number", plain, []byte{serfAck, 0x80}, nil},
		{"no map", plain, []byte{serfAck, 0xc0}, nil},
		{"unknown type", plain, []byte{99, 0x80}, nil},
		{"refusal", plain, errorMessage("no"), nil},
		{"label, which Consul does not use", plain, append([]byte("\xf4\x04blue"), ack...), nil},
		{"encrypted", sealed, sealed.encodePacket(ack), []uint32{7}},
		{"encrypted with the second key", ring, sealed.encodePacket(ack), []uint32{7}},
		{"encrypted with the first key", mustWire(t, other), ring.encodePacket(ack), []uint32{7}},
		{"encrypted with another key", sealed, ring.encodePacket(ack), nil},
		{"encrypted, and asked in plain text", oneWay, sealed.encodePacket(ack), []uint32{7}},
		{"not encrypted, and asked in plain text", oneWay, ack, []uint32{7}},
		{"encrypted and padded", sealed, versionZero(sealed, ack), []uint32{7}},
		{"encrypted, with checksum", sealed, sealed.encodePacket(crcMessage(compressedMessage(0, ack))), []uint32{7}},
		{"not encrypted yet", sealed, ack, []uint32{7}},
		{"unknown encryption", sealed, append([]byte{77}, sealed.encodePacket(ack)[1:]...), nil},
		{"encrypted nothing", sealed, sealed.encodePacket(nil), nil},
	} {
		got, err := tc.wire.decodePacket(tc.packet)
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got acknowledgements %v, error %v; want %v", tc.name, got, err, tc.want)
		}
		for _, seq := range tc.want {
			if err := checkAcks(got, seq, err); err != nil {
				t.Error(err)
			}
		}
		if err := checkAcks(got, 123, err); err == nil {
			t.Error("got no error for a number that is not there")
		}
	}
}

// versionZero encrypts as memberlist did at first, with padding.
func versionZero(w *serfWire, msg []byte) []byte {
	n := aes.BlockSize - len(msg)%aes.BlockSize
	padded := append(slices.Clone(msg), bytes.Repeat([]byte{byte(n)}, n)...)
	return w.ciphers[0].Seal([]byte{0}, nil, padded, nil)
}

func TestDecodeSerfStream(t *testing.T) {
	t.Parallel()
	key, other := bytes.Repeat([]byte("k"), 24), bytes.Repeat([]byte("o"), 32)
	plain, sealed, ring := mustWire(t), mustWire(t, key), mustWire(t, other, key)
	ack := ackMessage(7)

	for _, tc := range []struct {
		name   string
		wire   *serfWire
		answer []byte
		// want is the reason of the error; empty for the acknowledgement 7.
		want Reason
	}{
		{"acknowledgement", plain, ack, ""},
		{"compressed", plain, compressedMessage(0, ack), ""},
		{"encrypted", sealed, sealed.encodeStream(ack), ""},
		{"encrypted and compressed", sealed, sealed.encodeStream(compressedMessage(0, ack)), ""},
		{"encrypted with the second key", ring, sealed.encodeStream(ack), ""},
		{"encrypted with another key", sealed, ring.encodeStream(ack), ReasonAuth},
		{"encrypted and no key", plain, sealed.encodeStream(ack), ReasonAuth},
		{"not encrypted yet", sealed, ack, ""},
		{"encrypted nothing", sealed, sealed.encodeStream(nil), ReasonProtocol},
		{"compressed nothing", plain, compressedMessage(0, nil), ReasonProtocol},
		{"twice compressed", plain, compressedMessage(0, compressedMessage(0, ack)), ReasonProtocol},
		{"bomb", plain, compressedMessage(0, make([]byte, serfInflatedBytes+1)), ReasonProtocol},
		{"compound", plain, compoundMessage(ack), ReasonProtocol},
		{
			"refused for the lack of a key", plain, errorMessage("Encryption is configured but remote state is not encrypted"),
			ReasonAuth,
		},
		{"refused for the wrong key", plain, errorMessage("no installed keys could decrypt the message"), ReasonAuth},
		{"refused", plain, errorMessage("msgpack decode error [pos 7]: unexpected EOF"), ReasonProtocol},
	} {
		got, err := tc.wire.decodeStream(bytes.NewReader(tc.answer))
		if reason := ReasonOf(err); reason != tc.want || err == nil && got != 7 {
			t.Errorf("%s: got acknowledgement %d, error %v, reason %q; want reason %q", tc.name, got, err, reason, tc.want)
		}
	}
}

func TestUnpad(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, want string
		ok       bool
	}{
		{"abc\x01", "abc", true},
		{strings.Repeat("\x10", 16), "", true},
		{"abc\x00", "", false},
		{"abc\x05", "", false},
		{strings.Repeat("x", 20) + "\x11", "", false},
		{"", "", false},
	} {
		got, err := unpad([]byte(tc.in))
		if (err == nil) != tc.ok || string(got) != tc.want {
			t.Errorf("%q: got %q, error %v; want %q", tc.in, got, err, tc.want)
		}
	}
}
