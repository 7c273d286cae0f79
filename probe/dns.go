// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/miekg/dns"
)

// dnsPayload is the size of the answers that EDNS0 allows: what fits into one packet nearly everywhere.
const dnsPayload = 1232

// DNSTarget is the DNS port of one agent: 8600, UDP and TCP.
type DNSTarget struct {
	// Address is "host:port".
	Address string
	// Domain is Consul's domain; empty is "consul".
	Domain string
}

// DNSResult is the result of a probe of DNS.
type DNSResult struct {
	Result
	// Rcode is the response code, such as 0 (no error) or 3 (no such name). It is valid if the port is up.
	Rcode int
	// Answers is the number of records in the answer section.
	Answers int
}

// DNSUDP asks an agent over UDP for the addresses of the service "consul", which are the servers'. Up means that it
// answered this question in any way: NXDOMAIN and REFUSED are answers. Timed are connect, which sends nothing, and
// request, in which a lost question is sent again once. It leaves nothing behind.
func (p *Prober) DNSUDP(ctx context.Context, target DNSTarget) (res DNSResult) {
	query, packet, err := dnsQuery(target.Domain)
	if err != nil {
		res.Result = failed(err)
		return res
	}
	res.Result = overUDP(ctx, p.dial, target.Address, packet, func(b []byte) error { return decodeDNS(b, query, &res) })
	return res
}

// DNSTCP asks the same over TCP. Timed are connect and request.
func (p *Prober) DNSTCP(ctx context.Context, target DNSTarget) (res DNSResult) {
	query, packet, err := dnsQuery(target.Domain)
	if err != nil {
		res.Result = failed(err)
		return res
	}
	talk := func(_ context.Context, conn net.Conn) error {
		answer, err := askDNSStream(conn, packet)
		if err != nil {
			return err
		}
		return decodeDNS(answer, query, &res)
	}
	res.Result = p.exchange(ctx, &exchange{Target: Target{Address: target.Address}, talk: talk})
	return res
}

// dnsQuery asks for the servers' addresses. Recursion is not desired: if Consul has another domain, it must not pass
// the question on.
func dnsQuery(domain string) (*dns.Msg, []byte, error) {
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn("consul.service."+strings.Trim(cmp.Or(domain, "consul"), ".")), dns.TypeA)
	query.RecursionDesired = false
	query.SetEdns0(dnsPayload, false)
	packet, err := query.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("encode a question for the domain %.100q: %w", domain, err)
	}
	return query, packet, nil
}

// askDNSStream sends a question on a connection and reads the answer; both have their length in front.
func askDNSStream(conn io.ReadWriter, packet []byte) ([]byte, error) {
	question := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packet)), uint16(len(packet)))
	if _, err := conn.Write(append(question, packet...)); err != nil {
		return nil, fmt.Errorf("send request: %w", err)
	}
	answer := &answerReader{r: conn, left: answerBytes + 2}
	b, err := readDNSStream(answer)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", withoutAnswer(answer.cause(err)))
	}
	return b, nil
}

func readDNSStream(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// decodeDNS decodes the answer to query into res. It must have the query's number and question.
func decodeDNS(b []byte, query *dns.Msg, res *DNSResult) error {
	var answer dns.Msg
	if err := answer.Unpack(b); err != nil {
		// Of the error only the text is kept: it may wrap one of the standard library that means something else here.
		return errors.New("decode answer: " + err.Error())
	}
	switch {
	case !answer.Response:
		return errors.New("this is a question, not an answer")
	case answer.Id != query.Id:
		return fmt.Errorf("this is the answer to question %d, not %d", answer.Id, query.Id)
	case len(answer.Question) != 1 || !sameQuestion(answer.Question[0], query.Question[0]):
		return fmt.Errorf("this is the answer to another question: %.200q", fmt.Sprint(answer.Question))
	}
	res.Rcode, res.Answers = answer.Rcode, len(answer.Answer)
	return nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}
