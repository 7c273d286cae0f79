// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// The types of messages in gossip, their first byte (memberlist: net.go, messageType). Types up to serfLastType exist.
const (
	serfPing       = 0
	serfAck        = 2
	serfCompound   = 7
	serfCompressed = 9
	serfEncrypted  = 10
	serfCRC        = 12
	serfError      = 13
	serfLastType   = 13
)

const (
	// serfDepth bounds how deep messages may be wrapped: an acknowledgement with other gossip is a compound in a
	// compressed message in a CRC.
	serfDepth = 4
	// serfInflatedBytes bounds what all compressed messages of one answer may inflate to.
	serfInflatedBytes = 64 << 10
	// serfMessages bounds how many messages an answer may have.
	serfMessages = 1024
	// serfStreamBytes bounds an encrypted answer on a stream. An acknowledgement has less than 100 bytes.
	serfStreamBytes = 16 << 10
)

// encodePing encodes a ping to any node. Without a node name memberlist does not check whether it is meant, and
// without a source it answers to where the ping came from. It is the map {SeqNo, Node} in msgpack.
func encodePing(seq uint32) []byte {
	b := append(make([]byte, 0, 24), serfPing, 0x82)
	b = append(b, "\xa5SeqNo\xce"...)
	b = binary.BigEndian.AppendUint32(b, seq)
	return append(b, "\xa4Node\xa0"...)
}

// encodePacket makes a datagram of a message.
func (w *serfWire) encodePacket(msg []byte) []byte {
	if w.plain {
		return msg
	}
	return w.encrypt(nil, msg, nil)
}

// encodeStream makes the bytes on a connection of a message. The length of the encrypted part is authenticated with it
// (memberlist: net.go, encryptLocalState).
func (w *serfWire) encodeStream(msg []byte) []byte {
	if w.plain {
		return msg
	}
	header := binary.BigEndian.AppendUint32([]byte{serfEncrypted}, uint32(serfOverhead+len(msg)))
	return w.encrypt(header, msg, slices.Clone(header))
}

// decodePacket returns the numbers of all pings that a datagram acknowledges, and what was wrong with the rest of it.
func (w *serfWire) decodePacket(b []byte) (acks []uint32, err error) {
	if w.ciphers != nil {
		plain, err := w.decrypt(b, nil)
		switch {
		case err == nil:
			b = plain
		// A server answers in plain text while encryption is being introduced (encrypt_verify_outgoing = false).
		case len(b) == 0 || b[0] <= serfMaxVersion || b[0] > serfLastType:
			return nil, err
		}
	}
	if len(b) >= 5 && b[0] == serfCRC {
		want, got := binary.BigEndian.Uint32(b[1:5]), crc32.ChecksumIEEE(b[5:])
		if want != got {
			return nil, fmt.Errorf("checksum is %08x, not %08x", got, want)
		}
		b = b[5:]
	}
	d := serfDecoder{inflate: serfInflatedBytes, messages: serfMessages}
	err = d.message(b, serfDepth)
	return d.acks, err
}

var errSerfShort = errors.New("message is cut short")

// serfDecoder collects the acknowledgements in a message and in those inside it.
type serfDecoder struct {
	acks []uint32
	// inflate and messages are what is left of the bounds.
	inflate  int
	messages int
}

// message decodes one message. Other gossip, which memberlist sends along where there is room, is left alone.
func (d *serfDecoder) message(b []byte, depth int) error {
	if len(b) == 0 {
		return errSerfShort
	}
	if d.messages--; depth == 0 || d.messages < 0 {
		return errors.New("too many messages in one")
	}
	kind, body := b[0], b[1:]
	switch kind {
	case serfAck:
		seq, err := decodeAck(bytes.NewReader(body))
		if err != nil {
			return err
		}
		d.acks = append(d.acks, seq)
		return nil
	case serfCompound:
		return d.compound(body, depth)
	case serfCompressed:
		inflated, err := decompress(bytes.NewReader(body), d.inflate)
		if err != nil {
			return err
		}
		d.inflate -= len(inflated)
		return d.message(inflated, depth-1)
	case serfError:
		return decodeRefusal(bytes.NewReader(body))
	}
	if kind > serfLastType {
		return fmt.Errorf("there is no message type %d", kind)
	}
	return nil
}

// compound decodes messages behind a list of their lengths: a count of one byte, and two bytes each.
func (d *serfDecoder) compound(b []byte, depth int) error {
	if len(b) == 0 || len(b) < 1+2*int(b[0]) {
		return errSerfShort
	}
	count := int(b[0])
	lengths, rest := b[1:1+2*count], b[1+2*count:]
	var firstErr error
	for ; len(lengths) > 0; lengths = lengths[2:] {
		n := int(binary.BigEndian.Uint16(lengths))
		if n > len(rest) {
			return errors.Join(firstErr, errSerfShort)
		}
		if err := d.message(rest[:n], depth-1); err != nil && firstErr == nil {
			firstErr = err
		}
		rest = rest[n:]
	}
	return firstErr
}

// decodeStream reads one message from a connection and returns the number of the ping that it acknowledges. The order
// is fixed on a stream: encrypted, compressed, acknowledgement, of which the first two may be missing (memberlist:
// net.go, rawSendMsgStream).
func (w *serfWire) decodeStream(r io.Reader) (seq uint32, err error) {
	kind, err := readByte(r)
	if err != nil {
		return 0, err
	}
	if kind == serfEncrypted {
		plain, err := w.readEncrypted(r)
		if err != nil {
			return 0, err
		}
		r = bytes.NewReader(plain)
		if kind, err = readByte(r); err != nil {
			return 0, errSerfShort
		}
	}
	if kind == serfCompressed {
		inflated, err := decompress(r, serfInflatedBytes)
		if err != nil {
			return 0, err
		}
		r = bytes.NewReader(inflated)
		if kind, err = readByte(r); err != nil {
			return 0, errSerfShort
		}
	}
	switch kind {
	case serfAck:
		return decodeAck(r)
	case serfError:
		return 0, decodeRefusal(r)
	default:
		return 0, fmt.Errorf("message type is %d, which is no acknowledgement", kind)
	}
}

// readEncrypted reads and decrypts what follows the type of an encrypted message on a stream.
func (w *serfWire) readEncrypted(r io.Reader) ([]byte, error) {
	header := [5]byte{serfEncrypted}
	if _, err := io.ReadFull(r, header[1:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(header[1:])
	if length > serfStreamBytes {
		return nil, fmt.Errorf("encrypted message announces %d bytes", length)
	}
	sealed := make([]byte, length)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return nil, err
	}
	return w.decrypt(sealed, header[:])
}

func readByte(r io.Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// decodeAck decodes what follows the type of an acknowledgement. Its payload, the server's network coordinate, is not
// used. The number must be there: many a byte sequence is valid msgpack.
func decodeAck(r io.Reader) (uint32, error) {
	var ack struct {
		SeqNo   *uint32
		Payload []byte
	}
	if err := decodeMsgpack(r, &ack); err != nil {
		return 0, fmt.Errorf("decode acknowledgement: %w", err)
	}
	if ack.SeqNo == nil {
		return 0, errors.New("acknowledgement has no number")
	}
	return *ack.SeqNo, nil
}

// decodeRefusal returns what the server sent as an error.
func decodeRefusal(r io.Reader) error {
	var refusal struct{ Error string }
	if err := decodeMsgpack(r, &refusal); err != nil {
		return fmt.Errorf("decode refusal: %w", err)
	}
	return &serfRefusal{refusal.Error}
}

// decompress reads a compressed message and inflates it to at most limit bytes.
func decompress(r io.Reader, limit int) ([]byte, error) {
	var compressed struct {
		// Algo is 0, which is LZW: there is no other.
		Algo uint8
		Buf  []byte
	}
	if err := decodeMsgpack(r, &compressed); err != nil {
		return nil, fmt.Errorf("decode compressed message: %w", err)
	}
	if compressed.Algo != 0 {
		return nil, fmt.Errorf("compression algorithm %d is unknown", compressed.Algo)
	}
	inflater := lzw.NewReader(bytes.NewReader(compressed.Buf), lzw.LSB, 8)
	defer inflater.Close()
	inflated, err := io.ReadAll(io.LimitReader(inflater, int64(limit)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("inflate message: %w", err)
	case len(inflated) > limit:
		return nil, fmt.Errorf("compressed message has more than %d bytes", limit)
	default:
		return inflated, nil
	}
}

// decodeMsgpack decodes one value. The handle keeps the decoder from allocating what a length field announces before
// that much has come.
func decodeMsgpack(r io.Reader, v any) error {
	handle := &codec.MsgpackHandle{}
	handle.MaxInitLen = 4096
	handle.MaxDepth = 8
	return codec.NewDecoder(r, handle).Decode(v)
}
