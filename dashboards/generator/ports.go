// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

import "strings"

// protocolColors tell the lines of protocols apart; shades alone do not. They say nothing about a state.
var protocolColors = map[string]string{
	"rpc tcp": blue, "serf_lan tcp": "purple", "serf_lan udp": "super-light-purple", "serf_wan tcp": "dark-purple",
	"serf_wan udp": "light-purple", "http tcp": "super-light-blue", "https tcp": "light-blue", "grpc tcp": "dark-blue",
	"grpc_tls tcp": "semi-dark-blue", "dns tcp": "semi-dark-purple", "dns udp": neutral,
}

func ports() dashboard {
	up := portUp("SERVER")
	// 1 for ports that accept connections over TCP and do not answer, 0 for all others. The phase connect is there also
	// when it failed; those after it are there only if it did not.
	hung := `(` + portUp("SERVER", `transport="tcp"`) + ` == bool 0 and on (PORT) ` +
		`consul_port_probe_phase_duration_seconds{SEL, SERVER, phase=~"tls|request"} or 0 * ` + up + `)`
	return dashboard{
		name:      "ports",
		title:     "Consul / Ports",
		about:     "Whether each port of each server answers in its own protocol, how fast, and why not.",
		variables: []object{serverVariable("consul_port_up")},
		rows: []row{
			{"What is wrong", []panel{
				withServer(failingPortsStat(4)),
				{
					kind: stat, title: "Hanging ports", alerts: "ConsulServerHung ConsulPortDown", steps: badFrom(1),
					about: "TCP ports that accept connections and answer nothing. The kernel accepts connections for a process that " +
						"is stopped, deadlocked or waits for its disk: all ports of a server at once mean that.",
					expr: "sum by (CLUSTER) (" + hung + ")",
				},
				{
					kind: stat, title: "Gossip over TCP only", alerts: "ConsulGossipUDPBlocked", noValue: "not probed",
					steps: warningFrom(1),
					about: "Gossip ports that answer over TCP and not over UDP: mostly a firewall. Members are taken for failed and " +
						"come back again and again.",
					expr: strings.ReplaceAll(`sum by (CLUSTER) (
  (max by (GOSSIP) (consul_port_up{SEL, SERVER, protocol=~"serf_lan|serf_wan", transport="udp"}) == bool 0)
    * on (GOSSIP)
  max by (GOSSIP) (consul_port_up{SEL, SERVER, protocol=~"serf_lan|serf_wan", transport="tcp"})
)`, "GOSSIP", "CLUSTER, server, port, protocol"),
				},
				{
					kind: stat, title: "Exporters disagree", alerts: "ConsulPortViewsDiffer", steps: warningFrom(1),
					about: "Ports that answer one exporter and not another one: the network between hosts is broken in part. Always " +
						"0 with one exporter.",
					expr: "sum by (CLUSTER) (min by (PORT) (consul_port_up{SEL, SERVER}) < bool " + up + ")",
				},
				{
					kind: stat, title: "Slowest answer", alerts: "ConsulPortSlow", unit: "s", noValue: "no answer",
					steps: warningFrom(1),
					about: "The longest that a port which answers took, connecting included. Milliseconds are normal within a " +
						"datacenter.",
					expr: "max by (CLUSTER) (min by (PORT) (consul_port_probe_duration_seconds{SEL, SERVER}) and on (PORT) " +
						up + " == 1)",
				},
				{
					kind: stat, title: "Certificate expires", alerts: "ConsulCertificateExpires", unit: "s",
					mappings: []object{mapped([]entry{{noneDue, "none is due", green}})},
					steps:    []step{{lowest, red}, {3 * day, orange}, {14 * day, green}},
					about: "When the first certificate expires of those that ports show. \"none is due\": all live for " +
						"days only and have more than a tenth of their time left, as those have that Consul renews by itself. Not " +
						"available if no port speaks TLS.",
					expr: orFor(
						"min by (CLUSTER) ("+certificateLeft+" unless on (PORT) "+certificateYoung+")",
						noneDue+" * max by (CLUSTER) ("+certificateLeft+" > bool 0)",
					), optionalMetric: "consul_port_tls_earliest_cert_expiry_timestamp_seconds{SEL, SERVER}",
				},
				serverPortMatrix(panel{
					title: "Ports now", width: 24, height: 6, steps: []step{{lowest, red}, {1, green}, {2, blue}},
					about: "Each port of each server. \"up\" is an answer in the port's own protocol; \"connects\" is a port that " +
						"accepts connections and cannot be asked (consul_port_protocol_verified is 0); \"hangs\" accepts connections " +
						"and does not answer; \"down\" does neither. Empty: not probed.",
					alerts: "ConsulServerDown ConsulServerHung ConsulPortDown",
					mappings: []object{
						mapped([]entry{{"-1", "hangs", red}, {"0", "down", red}, {"1", "up", green}, {"2", "connects", blue}}),
					},
				}, up+" - "+hung+" + ("+
					up+" == bool 1 and on (PORT) consul_port_protocol_verified{SEL, SERVER} == 0 or 0 * "+up+")"),
			}},
			{"Why, and since when", []panel{
				{
					kind: table, title: "Probes that failed", width: 12, height: 7, alerts: "ConsulPortErrors",
					about: "Ports whose probes failed just now, and why. refused: nothing listens. timeout: no answer in time. " +
						"reset: the connection broke. unreachable: no route. resolve: no address. tls: the handshake failed or the " +
						"certificate does not verify. auth: the exporter may not ask. protocol: it is not Consul. limit: the server's " +
						"connection limit is reached.",
					expr: orElse(
						"round(max by (PORT, reason) (increase(consul_port_probe_failures_total{SEL, "+
							"SERVER}[$__rate_interval]))) > 0",
						label(label("0 * count("+up+")", "server", "all answer"), "reason", "–"),
					),
					transformations: []object{
						sorted("Value", true), columns("server", "port", "protocol", "transport", "reason", "Value=Failed"),
					},
					overrides: []object{override("Failed", colored(badFrom(1)), cell)},
				},
				{
					title: "Failures by reason", width: 12, height: 7, alerts: "ConsulPortErrors", unit: "ops", stacked: true,
					colors: map[string]string{
						"timeout": "purple", "refused": "blue", "reset": "super-light-blue", "unreachable": "dark-purple",
					},
					about: "Probes of ports that failed, by reason; see the table for what these mean.",
					expr: "sum by (reason) (max by (PORT, reason) (rate(consul_port_probe_failures_total{SEL, " +
						"SERVER}[$__rate_interval])))",
				},
				turnedAwayTable(24, 6),
				failingPortsOverTime(12, 7, "SERVER"),
				{
					title: "Failing ports, by protocol", width: 12, height: 7,
					alerts:  "ConsulPortDown",
					stepped: true, stacked: true, colors: protocolColors,
					about: "The same by protocol. One protocol of all servers: a firewall, or a change of configuration.",
					expr:  "sum by (protocol, transport) (" + up + " == bool 0)",
				},
				serverPortMatrix(panel{
					title: "Last answer", width: 24, height: 6, unit: "s", whole: true, steps: quiet(badFromTwo(60, 300)),
					about: "How long ago each port last answered. Empty: not since the exporter started.",
				}, "time() - max by (PORT) (consul_port_last_success_timestamp_seconds{SEL, SERVER})"),
				serverPortMatrix(panel{
					title: "Success rate in the time shown", width: 24, height: 6, alerts: "ConsulPortErrors", unit: "percentunit",
					decimals: 1, steps: []step{{lowest, red}, {0.95, orange}, {0.999, green}},
					about: "The share of scrapes in which each port answered, over the time that the dashboard shows.",
				}, "max by (PORT) (avg_over_time(consul_port_up{SEL, SERVER}[$__range]))"),
			}},
			{"Response time", []panel{
				{
					title: "Port 8300, by server", alerts: "ConsulPortSlow", unit: "s",
					about: "How long the probe of the RPC port took, connecting included. One server that is slower than the others " +
						"is busy or far away.",
					expr: `max by (CLUSTER, server) (consul_port_probe_duration_seconds{SEL, SERVER, protocol="rpc"})`,
				},
				{
					title: "Slowest server, by protocol", alerts: "ConsulPortSlow", unit: "s", colors: protocolColors,
					about: "How long the probe of each protocol took on the slowest server. A probe that fails takes until its " +
						"timeout.",
					expr: "max by (protocol, transport) (consul_port_probe_duration_seconds{SEL, SERVER})",
				},
				{
					title: "Slowest port, by phase", unit: "s",
					colors: map[string]string{"connect": "blue", "tls": "purple", "request": "super-light-blue"},
					about: "How long each phase of the probes took at most. connect is the network and the kernel, tls the " +
						"handshake, request is Consul itself.",
					expr: "max by (phase) (consul_port_probe_phase_duration_seconds{SEL, SERVER})",
				},
			}},
			{"Connections to the agent of the exporter", []panel{
				{
					title: "Established connections, by port", width: 12, optionalMetric: "consul_port_connections{SEL, SERVER}",
					about: "TCP connections to the ports of the agent that the exporter asks. Consul refuses more than 100 to port " +
						"8300 and 200 to the HTTP API from one address by default. Not available unless the exporter runs on the " +
						"agent's host.",
					expr: `max by (CLUSTER, server, port, protocol) (consul_port_connections{SEL, SERVER, state="established"})`,
				},
				{
					title: "Other connections, by state", width: 12, optionalMetric: "consul_port_connections{SEL, SERVER}",
					about: "Connections that are not established. syn_recv that stays: the process does not accept. close_wait that " +
						"grows: it does not close. time_wait is normal. Not available unless the exporter runs on the agent's host.",
					expr: `sum by (state) (max by (PORT, state) (consul_port_connections{SEL, SERVER, state!="established"}))`,
				},
			}},
			{"Certificates and DNS", []panel{
				certificatesTable(8, 8),
				{
					title: "Servers that DNS names", alerts: "ConsulDNSFewerServers", noValue: notAvailable,
					about: "Addresses that each DNS port answers with for consul.service, over TCP, and the servers that are alive. " +
						"Fewer addresses: a server fails a health check, or the agent's token may not read it. Over UDP Consul answers " +
						"with three at most. Not available where DNS is not probed.",
					queries: []query{
						{optionalOf(
							`max by (CLUSTER, server) (consul_dns_answers{SEL, SERVER, transport="tcp"})`, "consul_dns_answers{SEL, SERVER}",
							"server",
						), "{{server}}"},
						{`max by (CLUSTER) (consul_cluster_servers{SEL, state="alive"})`, "servers alive"},
					},
				},
				{
					kind: table, title: "DNS answers", width: 8, height: 8, alerts: "ConsulDNSErrors ConsulDNSFewerServers",
					about: "What each DNS port answers for consul.service. Anything but \"no error\" means that clients of DNS find " +
						"no service there.",
					optional: true, expr: "max by (CLUSTER, server, port, transport) (consul_dns_response_code{SEL, SERVER})",
					transformations: []object{sorted("server", false), columns("server", "port", "transport", "Value=Answer")},
					overrides: []object{override("Answer", cell,
						colored(badFrom(1)), shown(mapped([]entry{
							{"0", "no error", green}, {"2", "server failure", red}, {"3", "no such name", red}, {"5", "refused", red},
						}), absent))},
				},
			}},
		},
	}
}

// Seconds that a port's certificate has left, and those of certificates that are renewed by themselves: they live for
// less than it takes to warn, and have more than a tenth of their time left. The alert leaves them out, too.
const (
	certificateLeft  = "(min by (PORT) (consul_port_tls_earliest_cert_expiry_timestamp_seconds{SEL, SERVER}) - time())"
	certificateYoung = "(" + certificateLeft + " < 14 * 86400 and on (PORT) " + certificateLeft +
		" > min by (PORT) (consul_port_tls_earliest_cert_lifetime_seconds{SEL, SERVER}) / 10)"
	// noneDue is the value for when there are no others.
	noneDue = "1000000000000"
)

func certificatesTable(width, height int) panel {
	// A row for each port of each server.
	row := func(expr string) string {
		return `min by (CLUSTER, where) (label_join(` + expr + `, "where", " ", "server", "port"))`
	}
	p := figuresPanel(panel{
		title: "Certificates", width: width, height: height, alerts: "ConsulCertificateExpires", noValue: notAvailable,
		about: "How long the certificate of each port is still valid, and how long it is valid in all. One that lives for " +
			"days only is renewed by itself, and due when less than a tenth is left: so is that of port 8503, unless it was " +
			"given one. Not available if no port speaks TLS.",
	}, figures{"where", []column{
		{
			title: "State", steps: []step{{lowest, green}, {1, orange}, {2, red}},
			mappings: []object{mapped([]entry{{"0", "fine", green}, {"1", "due soon", orange}, {"2", "due", red}}), absent},
			expr: row("(" + certificateLeft + " < bool 14 * 86400) + (" + certificateLeft + " < bool 3 * 86400)" +
				" unless on (PORT) " + certificateYoung + " or 0 * " + certificateLeft),
		},
		{title: "Valid for", unit: "s", expr: row(certificateLeft)},
		{title: "Of", unit: "s", expr: row("consul_port_tls_earliest_cert_lifetime_seconds{SEL, SERVER}")},
	}}, "Port")
	none := "NaN * absent(consul_port_tls_earliest_cert_expiry_timestamp_seconds{SEL, SERVER})"
	p.expr = orElse(p.expr, label(label(none, "where", notAvailable), "figure", "State"))
	return p
}

var matrixCells = object{
	"matcher":    object{"id": "byType", "options": "number"},
	"properties": []object{{"id": cell.id, "value": cell.value}, {"id": "custom.align", "value": "center"}},
}

// withServer narrows a panel of the overview down to the chosen servers.
func withServer(p panel) panel {
	p.expr = narrowed(p.expr)
	for i, q := range p.queries {
		p.queries[i].expr = narrowed(q.expr)
	}
	return p
}
