// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
)

// httpPath is what is asked: it needs no token and no leader (Consul: agent/status_endpoint.go).
const httpPath = "/v1/status/leader"

// answeredError is an answer in the port's own protocol, but not to the question: the port is up.
type answeredError struct {
	reason Reason
	text   string
}

func (e *answeredError) Error() string { return e.text }

// HTTP asks the API of an agent, 8500 or 8501 with TLS, who the leader is, without a token. Up means that it
// answered: who it is or that there is none (200), that it reached no server (500), that it does not say so (403, with
// ReasonAuth), or that this client asks or connects too much (429, with ReasonLimit). Timed are connect, tls on a port
// with TLS, and request. It leaves nothing behind: one connection, closed with the answer.
func (p *Prober) HTTP(ctx context.Context, target Target) Result {
	return p.exchange(ctx, &exchange{Target: target, talk: func(_ context.Context, conn net.Conn) error {
		return askHTTP(conn, target.Address)
	}})
}

// askHTTP asks on conn and reads the whole answer.
func askHTTP(conn io.ReadWriter, host string) error {
	// Closing is left to the server, so that nothing of the answer is still on its way.
	request := "GET " + httpPath + " HTTP/1.1\r\nHost: " + host +
		"\r\nUser-Agent: consul_cluster_exporter\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	answer := &answerReader{r: conn, left: answerBytes}
	status, body, err := readHTTP(answer)
	switch {
	case errors.Is(err, errTooLong):
		return fmt.Errorf("read answer: %w", err)
	case err != nil:
		return fmt.Errorf("read answer: %w", withoutAnswer(answer.cause(err)))
	}
	return checkHTTP(status, body)
}

// readHTTP reads an answer and its body; the reader bounds both.
func readHTTP(r io.Reader) (status int, body []byte, err error) {
	response, err := http.ReadResponse(bufio.NewReaderSize(r, 1024), nil)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	if response.ContentLength > answerBytes {
		return 0, nil, errTooLong
	}
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// checkHTTP reports why this is no answer of Consul.
func checkHTTP(status int, body []byte) error {
	switch status {
	case http.StatusOK:
		var leader string
		if err := json.Unmarshal(body, &leader); err != nil {
			return fmt.Errorf("decode the leader's address: %w", err)
		}
		return nil
	case http.StatusForbidden:
		return &answeredError{ReasonAuth, fmt.Sprintf("answer is %d: %.200q", status, body)}
	case http.StatusTooManyRequests:
		return &answeredError{ReasonLimit, fmt.Sprintf("answer is %d: %.200q", status, body)}
	case http.StatusInternalServerError:
		if IsUnserved(string(body)) {
			return nil
		}
	}
	return fmt.Errorf("answer is %d: %.200q", status, body)
}

// unserved are parts of the errors with which an agent says that it reached no server, or that there is no leader
// (Consul: agent/pool/pool.go, agent/structs/errors.go; hashicorp/yamux; gRPC).
var unserved = []string{
	"rpc error getting client", "lead thread didn't get connection", "EOF", "i/o timeout", "connection reset",
	"broken pipe", "session shutdown", "stream closed", "keepalive timeout", "code = Unavailable",
	"No cluster leader", "No known Consul servers", "No path to datacenter", "leadership lost",
}

// IsUnserved reports whether an agent says in this error that it reached no server, or that there is no leader: it
// answers, and the request failed elsewhere.
func IsUnserved(text string) bool {
	isHTML := strings.HasPrefix(strings.TrimSpace(text), "<")
	return !isHTML && slices.ContainsFunc(unserved, func(part string) bool { return strings.Contains(text, part) })
}
