// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

// PortID is a port in the labels of the section "Ports".
type PortID struct {
	Number              int
	Protocol, Transport string
}

// Port is the port with this number.
func Port(number int, protocol, transport string) PortID {
	return PortID{number, protocol, transport}
}

// Series names a series about the port of an agent.
func (p PortID) Series(family string, a *consultest.Agent, more ...string) string {
	labels := append([]string{
		fmt.Sprintf(`port="%d"`, p.Number), fmt.Sprintf("protocol=%q", p.Protocol),
		fmt.Sprintf("server=%q", a.Name), fmt.Sprintf("transport=%q", p.Transport),
	}, more...)
	slices.Sort(labels)
	return family + "{" + strings.Join(labels, ",") + "}"
}

// The ports of a server: those that every one has, and those of a plain and of a secure cluster.
var (
	ServerPorts = []PortID{
		{8300, "rpc", "tcp"},
		{8301, "serf_lan", "tcp"},
		{8301, "serf_lan", "udp"},
		{8302, "serf_wan", "tcp"},
		{8302, "serf_wan", "udp"},
		{8503, "grpc_tls", "tcp"},
		{8600, "dns", "tcp"},
		{8600, "dns", "udp"},
	}
	PlainPorts  = append(slices.Clone(ServerPorts), PortID{8500, "http", "tcp"}, PortID{8502, "grpc", "tcp"})
	SecurePorts = append(slices.Clone(ServerPorts), PortID{8501, "https", "tcp"})
)

// PortSamples has this value for each of the ports.
func PortSamples(family string, value float64, ports []PortID, agents ...*consultest.Agent) Samples {
	s := make(Samples)
	for _, a := range agents {
		for _, p := range ports {
			s[p.Series(family, a)] = value
		}
	}
	return s
}

// ExpectPorts fails unless exactly these ports of the agents are there, up and verified.
func (s Samples) ExpectPorts(t *testing.T, ports []PortID, agents ...*consultest.Agent) {
	t.Helper()
	up := PortSamples("consul_port_up", 1, ports, agents...)
	s.Expect(t, up)
	s.Expect(t, PortSamples("consul_port_protocol_verified", 1, ports, agents...))
	for series := range s {
		if _, wanted := up[series]; !wanted && strings.HasPrefix(series, "consul_port_up{") {
			t.Errorf("%s is there; want no such port", series)
		}
	}
}

// ScrapeUntilUp scrapes until all ports of the agents are up. Those of a young server are not: it has no certificate
// for gRPC before there is a leader and an authority.
func (e *Exporter) ScrapeUntilUp(t *testing.T, ports []PortID, agents ...*consultest.Agent) Samples {
	t.Helper()
	return e.Await(t, PortSamples("consul_port_up", 1, ports, agents...))
}

// Secret writes a file that only its owner may read.
func Secret(t *testing.T, content string) (path string) {
	t.Helper()
	return WriteFile(t, "secret", content+"\n")
}

// TLSFlags are for the agent's API and, by default, for port 8300.
func TLSFlags(c *consultest.Cluster) []string {
	return []string{
		"--consul.ca-file=" + c.CACert, "--consul.cert-file=" + c.ClientCert, "--consul.key-file=" + c.ClientKey,
	}
}
