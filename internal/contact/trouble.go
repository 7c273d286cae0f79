// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package contact says why an agent's HTTP API is of no use, and which flag or permission to set: for the page, check
// and the log.
package contact

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Trouble is why an agent's HTTP API is of no use, in the words of the page, check and the log.
type Trouble struct {
	// What happened is a clause, such as "the agent at http://localhost:8500 refuses connections".
	What string
	// Do is a sentence or more: which flag or permission to set, with an example.
	Do string
}

// The remedies that several troubles have.
const (
	otherAddress = "--consul.server to the HTTP API of a Consul agent, for example --consul.server=http://127.0.0.1:8500."
	notConsul    = "Another program or a proxy listens there. Set " + otherAddress
	ownClient    = "Set --consul.cert-file and --consul.key-file to a certificate that the agent's CA issued and to its " +
		"key, for example --consul.cert-file=dc1-client-consul-0.pem --consul.key-file=dc1-client-consul-0-key.pem."
	readItsLog = "Look at the log of that agent."
)

// GiveToken is what to do when the token lacks rights.
const GiveToken = "Give the exporter a token that has agent:read, node:read, service:read and " +
	"operator:read, for example " +
	"with --consul.token-file=/etc/consul/exporter.token."

// LeaveOutNamespace is what to do when Consul is not the Enterprise edition that the flags are for.
const LeaveOutNamespace = "Leave out --consul.namespace and --consul.partition: only Consul Enterprise has them."

// otherPorts are what an agent's other ports are for.
var otherPorts = map[cluster.Protocol]string{
	cluster.ProtocolRPC: "RPC between servers", cluster.ProtocolSerfLAN: "gossip", cluster.ProtocolSerfWAN: "gossip",
	cluster.ProtocolGRPC: "gRPC", cluster.ProtocolGRPCTLS: "gRPC", cluster.ProtocolDNS: "DNS",
}

// OfAgent explains why the HTTP API of the agent at this address is of no use.
func OfAgent(address consul.Address, err error) Trouble {
	c := contact{address, err, probe.ReasonOf(err)}
	var t Trouble
	status, answered := errors.AsType[api.StatusError](err)
	_, lacksRight := errors.AsType[consul.DeniedError](err)
	switch {
	case err == nil:
		t = Trouble{"does not answer", ""}
	case c.otherPort() != "":
		api := address.OnPort(address.Hostname(), cluster.Protocol(address.Scheme).DefaultPort())
		t = Trouble{
			fmt.Sprintf("does not speak HTTP: port %d is Consul's port for %s", address.Port(), c.otherPort()),
			fmt.Sprintf("Set --consul.server to the port of the HTTP API, for example --consul.server=%s.", api),
		}
	case lacksRight:
		t = Trouble{"denies requests: the token lacks rights", GiveToken}
	case answered:
		t = c.byStatus(status)
	case c.isPage():
		t = Trouble{"answers with a web page (status 200)", notConsul}
	case c.otherContent():
		t = Trouble{"answers, but not as Consul does", notConsul}
	case slices.Contains([]probe.Reason{probe.ReasonTLS, probe.ReasonCertificate, probe.ReasonName}, c.reason):
		t = c.byTLS()
	default:
		t = c.byConnection()
	}
	t.What = fmt.Sprintf("the agent at %s %s", address, t.What)
	return t
}

// contact is how an agent was met.
type contact struct {
	address consul.Address
	err     error
	reason  probe.Reason
}

// otherPort is what the port is for that was asked, if it is another default port of Consul's and does not answer as
// the HTTP API does; otherwise it is empty.
func (c *contact) otherPort() string {
	if consul.IsAgentsAnswer(c.err) || c.unconnected() || c.reason == probe.ReasonOwnFault {
		return ""
	}
	for protocol, purpose := range otherPorts {
		if protocol.DefaultPort() == c.address.Port() {
			return purpose
		}
	}
	return ""
}

// unconnected reports whether there never was a connection.
func (c *contact) unconnected() bool {
	opErr, ok := errors.AsType[*net.OpError](c.err)
	return ok && opErr.Op == "dial"
}

// withScheme is the address with another scheme.
func (c *contact) withScheme(scheme string) string {
	address := c.address
	address.Scheme = scheme
	return address.String()
}

// expectsTLS explains a server that was asked in plain text.
func (c *contact) expectsTLS() Trouble {
	return Trouble{"speaks HTTPS, not HTTP", "Set --consul.server=" + c.withScheme("https") + "."}
}

// byStatus explains an answer that is an error.
func (c *contact) byStatus(status api.StatusError) Trouble {
	page := strings.HasPrefix(strings.TrimSpace(status.Body), "<")
	said := fmt.Sprintf("answers with status %d (%s)", status.Code, http.StatusText(status.Code))
	switch {
	case status.Code == http.StatusBadRequest &&
		(strings.Contains(status.Body, "to an HTTPS server") || strings.Contains(status.Body, "sent to HTTPS port")):
		return c.expectsTLS()
	case status.Code == http.StatusUnauthorized:
		return Trouble{
			said + ": it wants a user and password",
			"Set the environment variable CONSUL_HTTP_AUTH, for example CONSUL_HTTP_AUTH=user:password.",
		}
	case page:
		return Trouble{fmt.Sprintf("answers with a web page (status %d)", status.Code), notConsul}
	case consul.IsUnknownToken(c.err):
		return Trouble{said + ": it does not know the token", GiveToken}
	case consul.IsBlocked(c.err):
		return Trouble{
			said + ": the endpoint is blocked",
			"Remove it from http_config.block_endpoints in the agent's configuration.",
		}
	case status.Code == http.StatusForbidden:
		return Trouble{said + ": the token lacks rights", GiveToken}
	case status.Code == http.StatusTooManyRequests:
		return Trouble{
			said + ": a limit is reached",
			"Raise limits.request_limits or limits.http_max_conns_per_client in the agent's configuration, or " +
				"scrape less often, " +
				"for example with scrape_interval: 60s.",
		}
	case status.Code == http.StatusNotFound && c.address.Path != "":
		address := c.address
		address.Path = ""
		return Trouble{said, "Remove the path from --consul.server, or change it to the one under which the proxy has " +
			"Consul's API, for example --consul.server=" + address.String() + "."}
	case status.Code == http.StatusNotFound:
		return Trouble{said, notConsul}
	}
	said += wording.Prefixed(": ", strings.Join(strings.Fields(status.Body), " "))
	if status.Code == http.StatusInternalServerError {
		return Trouble{said, readItsLog}
	}
	return Trouble{said, notConsul}
}

// isPage reports whether the answer is a page in place of JSON.
func (c *contact) isPage() bool {
	syntax, ok := errors.AsType[*json.SyntaxError](c.err)
	return ok && strings.HasPrefix(syntax.Error(), "invalid character '<'")
}

// otherContent reports whether the answer is something other than what Consul answers. The error of an answer without
// content is that of a connection that broke, but not one of the connection.
func (c *contact) otherContent() bool {
	_, syntax := errors.AsType[*json.SyntaxError](c.err)
	_, kind := errors.AsType[*json.UnmarshalTypeError](c.err)
	_, size := errors.AsType[consul.TooLargeError](c.err)
	_, connection := errors.AsType[*url.Error](c.err)
	return syntax || kind || size || errors.Is(c.err, cluster.ErrNotAgent) || (errors.Is(c.err, io.EOF) && !connection)
}

// byTLS explains a handshake that failed.
func (c *contact) byTLS() Trouble {
	_, plain := errors.AsType[tls.RecordHeaderError](c.err)
	expired, ours := probe.CertificateExpired(c.err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](c.err)
	name, _ := errors.AsType[x509.HostnameError](c.err)
	switch {
	case plain:
		return Trouble{"does not speak TLS", "Set " + otherAddress}
	case ours:
		return Trouble{"rejects the exporter's client certificate, which has expired", ownClient}
	case expired:
		return Trouble{
			"shows a certificate that has expired or is not valid yet", "Renew it on the server, or set the clocks.",
		}
	case c.reason == probe.ReasonCertificate:
		return Trouble{"requires a client certificate of its own CA", ownClient}
	case c.reason == probe.ReasonName:
		return Trouble{
			"shows a certificate for another name" + wording.Prefixed(": it is for ", wording.List(namesIn(name.Certificate))),
			"Set --consul.server-name to a name in the certificate, for example --consul.server-name=" +
				exampleName(name.Certificate) + ".",
		}
	case unknown:
		return Trouble{
			"shows a certificate of a CA that the exporter does not trust",
			"Set --consul.ca-file to the certificate of that CA, for example --consul.ca-file=consul-agent-ca.pem.",
		}
	default:
		return Trouble{
			fmt.Sprintf("cannot agree with the exporter on TLS (%v)", rootOf(c.err)),
			"Compare the tls block of the agent's configuration with --consul.ca-file, --consul.cert-file and " +
				"--consul.key-file, for example --consul.ca-file=consul-agent-ca.pem.",
		}
	}
}

// namesIn are the names and addresses that a certificate is for.
func namesIn(cert *x509.Certificate) []string {
	if cert == nil {
		return nil
	}
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// exampleName is one of them, or that of Consul's own certificates.
func exampleName(cert *x509.Certificate) string {
	if names := namesIn(cert); len(names) > 0 {
		return names[0]
	}
	return "server.dc1.consul"
}

// byConnection explains why there was no answer at all.
func (c *contact) byConnection() Trouble {
	lookup, _ := errors.AsType[*net.DNSError](c.err)
	switch {
	case strings.Contains(c.err.Error(), `malformed HTTP response "\x15\x03`): // An alert of TLS.
		return c.expectsTLS()
	case strings.Contains(c.err.Error(), "server gave HTTP response to HTTPS client"): // net/http has no type for it.
		return Trouble{"speaks HTTP, not HTTPS", "Set --consul.server=" + c.withScheme("http") + "."}
	case strings.Contains(c.err.Error(), "malformed HTTP"):
		return Trouble{"does not speak HTTP", notConsul}
	case lookup != nil && lookup.IsNotFound:
		return Trouble{
			fmt.Sprintf("cannot be found: the name %s does not resolve", lookup.Name),
			"Fix the name or DNS on this host, or set " + otherAddress,
		}
	case lookup != nil:
		return Trouble{
			fmt.Sprintf("cannot be found: looking up %s fails (%s)", lookup.Name, lookup.Err),
			"Fix DNS on this host, or set " + otherAddress,
		}
	case c.address.Socket != "" && (c.reason == probe.ReasonRefused || errors.Is(c.err, fs.ErrNotExist)):
		return Trouble{
			"refuses connections: nothing listens on the socket",
			"Set addresses.http in the agent's configuration to the socket, or set " + otherAddress,
		}
	case c.reason == probe.ReasonRefused:
		return Trouble{"refuses connections: nothing listens there", "Start Consul there, or set " + otherAddress}
	case c.reason == probe.ReasonUnreachable:
		return Trouble{
			"cannot be reached: the network has no route to it", "Check routes and firewalls, or set " + otherAddress,
		}
	case c.reason == probe.ReasonTimeout && c.unconnected():
		return Trouble{"does not answer: no connection in time", "Check routes and firewalls, or set " + otherAddress}
	case c.reason == probe.ReasonTimeout:
		return Trouble{
			"accepts connections but does not answer in time",
			readItsLog + " If it is only slow, raise --consul.timeout, for example --consul.timeout=5s.",
		}
	case c.reason == probe.ReasonReset:
		return Trouble{
			"closes connections without an answer", readItsLog + " If something else listens there, set " + otherAddress,
		}
	default:
		return Trouble{fmt.Sprintf("does not answer (%v)", rootOf(c.err)), "Set " + otherAddress}
	}
}

// rootOf is the error without what was tried.
func rootOf(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}
