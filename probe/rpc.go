// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	msgpackrpc "github.com/hashicorp/net-rpc-msgpackrpc/v2"
)

const (
	// rpcConsul is the first byte on port 8300: "what follows is msgpack net/rpc" (Consul: agent/pool/conn.go).
	rpcConsul = 0x00
	// rpcTLS is the first byte before a TLS handshake, in which a first byte follows again. All versions of Consul know
	// it, unlike TLS without it (ALPN "consul/rpc-single").
	rpcTLS = 0x03
	// rpcAnswerBytes bounds what is read from one server. The longest answer is the list of peers, of less than 100
	// bytes each.
	rpcAnswerBytes = 128 << 10
	// maxPeers is more than any cluster has. A peer can take one byte of an answer and a hundred times as much memory.
	maxPeers = 1000
)

// RaftView is what a server says about Raft, from its own memory: that takes no leader, token or quorum. A server
// whose Raft is shutting down may refuse a part; the rest is there nevertheless.
type RaftView struct {
	// LeaderKnown is whether the server answered who leads.
	LeaderKnown bool
	// Leader is the address ("host:port") of the server it takes for the leader; empty when it knows of none.
	Leader string

	// PeersKnown is whether the server answered who its peers are.
	PeersKnown bool
	// Peers has the addresses in its Raft configuration, voters or not, itself included.
	Peers []string

	// StatsKnown is whether the server answered with its log position.
	StatsKnown bool
	// LastLogIndex and LastLogTerm are those of the last entry in its log.
	LastLogIndex, LastLogTerm uint64
	// LastContactKnown is false when the server has never heard of a leader.
	LastContactKnown bool
	// LastContact is the time since it heard of the leader; 0 on the leader.
	LastContact time.Duration
}

// RPCResult is the result of a probe of port 8300.
type RPCResult struct {
	Result
	Raft RaftView
}

// RPC asks a server's port 8300 for its own view of Raft: Status.Ping, Leader, Peers and RaftStats, on one connection
// and in one round trip. Up means that the server answered them in order, whatever it said. Timed are connect, tls if
// the target has TLS, and request. It leaves nothing behind: the connection is closed, or kept as silentConns says
// when the server hangs.
//
// The methods are those of Consul's agent/consul/status_endpoint.go; with an empty datacenter a server answers them
// itself.
func (p *Prober) RPC(ctx context.Context, target Target) RPCResult {
	var res RPCResult
	res.Result = p.exchange(ctx, &exchange{
		Target:   target,
		preamble: []byte{rpcTLS},
		talk:     func(_ context.Context, conn net.Conn) error { return askRaft(conn, &res.Raft) },
		// The four answers are all that Consul sends.
		closeAtOnce: true,
	})
	return res
}

// rpcCall is one request and the place for its answer.
type rpcCall struct {
	method string
	reply  any
	// refused is set when the server answered with an error instead of a reply.
	refused error
}

// raftStats mirrors Consul's structs.RaftStats.
type raftStats struct {
	LastContact string
	LastTerm    uint64
	LastIndex   uint64
}

// emptyArgs encodes as an empty map, which all calls take: for those that take a datacenter it means "your own".
type emptyArgs struct{}

// askRaft makes the four calls on conn and fills in view. All requests are sent in one write, before the first answer
// is read.
func askRaft(conn io.ReadWriter, view *RaftView) error {
	var (
		leader string
		peers  []string
		stats  raftStats
		pong   emptyArgs
	)
	calls := []rpcCall{
		{method: "Status.Ping", reply: &pong},
		{method: "Status.Leader", reply: &leader},
		{method: "Status.Peers", reply: &peers},
		{method: "Status.RaftStats", reply: &stats},
	}
	if err := callAll(conn, calls); err != nil {
		return err
	}
	if len(peers) > maxPeers {
		return fmt.Errorf("read answer to Status.Peers: there are %d peers, and more than %d are not believed", len(peers),
			maxPeers)
	}
	if calls[1].refused == nil {
		view.LeaderKnown, view.Leader = true, leader
	}
	if calls[2].refused == nil {
		view.PeersKnown, view.Peers = true, peers
	}
	if calls[3].refused == nil {
		view.StatsKnown, view.LastLogIndex, view.LastLogTerm = true, stats.LastIndex, stats.LastTerm
		view.LastContact, view.LastContactKnown = parseLastContact(stats.LastContact)
	}
	return nil
}

// callAll sends all calls and reads their answers, which Consul gives in order.
func callAll(conn io.ReadWriter, calls []rpcCall) error {
	answer := &answerReader{r: conn, left: rpcAnswerBytes}
	requests := bytes.NewBuffer(append(make([]byte, 0, 256), rpcConsul))
	cc := newRPCCodec(answer, requests)
	for i, call := range calls {
		req := rpc.Request{ServiceMethod: call.method, Seq: uint64(i)}
		if err := cc.WriteRequest(&req, emptyArgs{}); err != nil {
			return fmt.Errorf("encode %s: %w", call.method, err)
		}
	}
	if _, err := conn.Write(requests.Bytes()); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	for i := range calls {
		if err := readAnswer(cc, uint64(i), &calls[i]); err != nil {
			return fmt.Errorf("read answer to %s: %w", calls[i].method, answer.cause(err))
		}
	}
	return nil
}

// readAnswer reads the answer to one call. It must repeat the call's number and method: many byte sequences are valid
// msgpack, such as a stream of 0xc0 (nil), and must not pass for an answer.
func readAnswer(cc rpc.ClientCodec, seq uint64, call *rpcCall) error {
	var header rpc.Response
	if err := cc.ReadResponseHeader(&header); err != nil {
		return err
	}
	if header.Seq != seq || header.ServiceMethod != call.method {
		return fmt.Errorf("this is an answer to %.40q number %d", header.ServiceMethod, header.Seq)
	}
	if header.Error != "" {
		call.refused = errors.New(header.Error)
		return cc.ReadResponseBody(new(emptyArgs))
	}
	return cc.ReadResponseBody(call.reply)
}

// newRPCCodec returns the msgpack codec of net/rpc.
func newRPCCodec(answers io.Reader, requests io.Writer) rpc.ClientCodec {
	// MaxInitLen keeps the decoder from allocating what a length field announces before that much has arrived.
	handle := &codec.MsgpackHandle{}
	handle.MaxInitLen = 64 << 10
	stream := readWriter{bufio.NewReaderSize(answers, 1024), requests}
	return msgpackrpc.NewCodecFromHandle(false, false, stream, handle)
}

// readWriter joins the two directions of a connection for the codec, which never closes it.
type readWriter struct {
	io.Reader
	io.Writer
}

func (readWriter) Close() error { return nil }

// answerReader bounds what is read and remembers how reading ended, which the decoder's errors do not say.
type answerReader struct {
	r     io.Reader
	total int
	left  int
	err   error
}

func (a *answerReader) Read(b []byte) (int, error) {
	if a.left <= 0 {
		a.err = errTooLong
		return 0, a.err
	}
	n, err := a.r.Read(b[:min(len(b), a.left)])
	a.total += n
	a.left -= n
	if err != nil {
		a.err = err
	}
	return n, err
}

// cause returns what ended the reading, or the decoder's error if all bytes came.
func (a *answerReader) cause(decodeErr error) error {
	switch {
	case errors.Is(a.err, io.EOF) && a.total == 0:
		return errTurnedAway
	case errors.Is(a.err, io.EOF):
		return fmt.Errorf("connection closed in the middle of an answer: %w", io.ErrUnexpectedEOF)
	case a.err != nil:
		return a.err
	default:
		// Of the decoder's error only the text is kept: it may wrap an io error that has nothing to do with the network.
		return errors.New(decodeErr.Error())
	}
}

// parseLastContact reads Raft's last_contact: "0" on the leader, "never", or a Go duration (hashicorp/raft: Stats).
func parseLastContact(s string) (d time.Duration, known bool) {
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}
