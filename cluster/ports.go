// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// The transports.
const (
	TransportTCP = "tcp"
	TransportUDP = "udp"
)

// Port is one port of one agent that is to be probed.
type Port struct {
	// Server is the node name.
	Server    string
	Protocol  Protocol
	Transport string
	Address   string // "host:port".

	tls    *tls.Config      // The client's side of TLS; nil for a port without.
	Serf   probe.SerfTarget // How to ask a gossip port.
	domain string           // What to ask DNS for.
	Note   string           // Says why nothing is asked of the port; empty if it is probed.
	Hint   string           // Says why the port is only connected to; empty if it is not.
	skip   probe.Reason     // Note in a word.
	OfMesh bool             // Whether the certificate has to be one of the service mesh.
	// tentative is whether the address is that of another agent's port of this kind, because nothing is known about this
	// one's. As long as nothing has answered there, a failure says nothing about the server.
	tentative bool
	// agent tells states of the agent apart that may answer the same question in another way.
	agent string
	// doubtful is whether the form of the question rests on what only the agent itself could say. If such a question is
	// not answered, that counts as a refusal.
	doubtful bool
	// unproven is whether no port of the gossip pool has acknowledged the first key yet. UDP, where a wrong key gets no
	// answer, then waits for the key that the port acknowledges over TCP.
	unproven bool
	// rejected is why the port rejected all keys over TCP; nil if it did not.
	rejected error
	// heldBy is the name of another server that is at the address; empty if none is. Such a port is not probed.
	heldBy string
}

// Unasked reports whether nothing is asked of the port, because Consul's configuration rules out an answer.
func (p Port) Unasked() bool { return p.Note != "" }

// Number is the port's number; 0 if it is unknown.
func (p Port) Number() int {
	_, port, _ := net.SplitHostPort(p.Address)
	n, _ := strconv.Atoi(port)
	return n
}

// ConnectOnly reports whether the port cannot be asked in its protocol: gossip is encrypted, and no key is usable.
func (p Port) ConnectOnly() bool { return p.Serf.Encrypted && len(p.Serf.Keys) == 0 }

// portKey tells ports apart within a scrape.
type portKey struct {
	protocol  Protocol
	transport string
	address   string
}

func (p Port) key() portKey { return portKey{p.Protocol, p.Transport, p.Address} }

// PortReport is how the probe of a port went.
type PortReport struct {
	Port
	Result probe.Result
	DNS    *DNSAnswer     // Nil unless DNS answered.
	raft   probe.RaftView // What port 8300 said.
}

// DNSAnswer is what DNS said about the service "consul", which is the servers.
type DNSAnswer struct {
	Rcode   int // The response code (RFC 1035, 4.1.1): 0 is no error, 3 no such name.
	Answers int // The number of addresses.
}

// BoundPort is a port of the configured agent.
type BoundPort struct {
	Port
	// Addrs are the addresses that the agent may have bound it to, besides the unspecified one.
	Addrs []string
}

// planner lists the ports to probe. It does no I/O.
type planner struct {
	opts       PortOptions
	configured consul.Address // Where the configured agent's HTTP API is.
	// clientTLS is the client's side of TLS on the ports for clients, and rpcConfig on port 8300.
	clientTLS, rpcConfig *tls.Config
	topology             Topology
	agent                *Agent // Nil if it has never said anything about itself.
	// own are the settings of the servers that have said anything about themselves, by node ID.
	own map[string]Agent
	// urlHosts are the addresses that the host of the configured address stands for; nil if it is one, or unknown.
	urlHosts []string
	// isLocal reports whether an address is one of this host; nil means that all are.
	isLocal  func(host string) bool
	serfKeys [][]byte // The gossip keys; nil for none.
	// usableKeys returns the keys to ask a gossip port with, the one that encrypts first; nil means all in their order.
	usableKeys func(protocol Protocol, address string, keys [][]byte) [][]byte
	// proven reports whether a port of the pool has acknowledged the key; nil means that none has.
	proven func(protocol Protocol, key []byte) bool
	mesh   *meshCA // The authority of the service mesh; nil when it is unknown.
	// wanHosts are the addresses of the servers in the WAN pool, by node ID; nil when they are unknown.
	wanHosts map[string]string
}

// wants reports whether a protocol is to be probed.
func (pl *planner) wants(p Protocol) bool {
	return pl.opts.Protocols == nil || slices.Contains(pl.opts.Protocols, p)
}

// settings returns what a server says about itself; nil if it never did.
func (pl *planner) settings(s Server) *Agent {
	if pl.agent != nil && pl.agent.is(s) {
		return pl.agent
	}
	if own, ok := pl.own[s.ID]; ok {
		return &own
	}
	return nil
}

// settingsOrAgents returns what a server says about itself, or else what the configured agent says; nil if neither did.
func (pl *planner) settingsOrAgents(s Server) *Agent { return cmp.Or(pl.settings(s), pl.agent) }

func (pl *planner) planRPC(s Server, port *Port) {
	if note := s.unprobed(); note != "" {
		port.Address = s.RPCAddress
		port.leaveOut(unasked{departed, note})
		return
	}
	inTLS := pl.rpcTLS(s)
	port.Address, port.doubtful = s.RPCAddress, (s.UsesTLS && !inTLS) || pl.guessesRPC(s)
	if !pl.opts.allow(s.Host) {
		port.leaveOut(notAllowed)
	}
	if inTLS {
		port.tls = consul.WithServerName(pl.rpcConfig, cmp.Or(s.Datacenter, pl.datacenter()), pl.domain())
	}
}

// rpcTLS decides whether to speak TLS to a server's port 8300. It cannot be tried: plain text to a server that wants
// TLS is a warning in its log. A server can speak TLS if its Serf tag says so, and may demand it if it says so itself,
// or else if the agent does, or if the agent speaks TLS to servers. With an authority to verify the servers by, TLS is
// spoken to all that can. If the agent says nothing, the tag decides, and without a tag, what the user has configured.
func (pl *planner) rpcTLS(s Server) bool {
	authority, agent := pl.rpcAuthority(), pl.settingsOrAgents(s)
	switch {
	case pl.opts.RPCTLS == RPCTLSOn:
		return true
	case pl.opts.RPCTLS == RPCTLSOff:
		return false
	case s.Status != StatusNone || s.LANPort != 0: // One that is remembered had a tag, too.
		return s.UsesTLS && (agent == nil || agent.RPCTLS || authority)
	case agent != nil:
		return agent.RPCTLS
	default:
		return pl.configured.Scheme == "https" || authority
	}
}

// guessesRPC reports whether rpcTLS has nothing to go by: the token may read neither the members nor the agent.
func (pl *planner) guessesRPC(s Server) bool {
	told := pl.opts.RPCTLS == RPCTLSOn || pl.opts.RPCTLS == RPCTLSOff
	return !told && s.Status == StatusNone && s.LANPort == 0 && pl.settingsOrAgents(s) == nil
}

// early returns the ports that can be asked before the agent has answered: all, unless it never has. Of servers known
// from before (Options.Remembered), nobody knows then whether gossip is encrypted, and port 8300 may want another form.
func (pl *planner) early(ports []Port) []Port {
	if pl.agent != nil {
		return ports
	}
	sure := make(map[string]bool)
	for _, s := range pl.topology.Servers {
		sure[s.Name] = pl.sureOfRPC(s)
	}
	return slices.DeleteFunc(ports, func(p Port) bool { return p.Protocol != ProtocolRPC || !sure[p.Server] })
}

// sureOfRPC reports whether rpcTLS decides in the same way when the agent's settings are known and the servers are
// members.
func (pl *planner) sureOfRPC(s Server) bool {
	authority := pl.rpcAuthority()
	return pl.opts.RPCTLS == RPCTLSOn || pl.opts.RPCTLS == RPCTLSOff ||
		s.UsesTLS == authority && pl.rpcTLS(s) == authority
}

// rpcAuthority reports whether there is something to verify servers with on port 8300, or to identify the exporter.
func (pl *planner) rpcAuthority() bool {
	config := pl.rpcConfig
	return config != nil && (config.RootCAs != nil || config.GetClientCertificate != nil)
}

// rpcs returns port 8300 of all servers that may be talked to, which the verdicts need whether or not it is shown.
func (pl *planner) rpcs() []Port {
	var ports []Port
	for _, s := range pl.topology.Servers {
		ports = append(ports, pl.portsOf(ProtocolRPC.row(), s, "", s.state())...)
	}
	return pl.oneVoice(ports)
}

// portsOf returns a port of a server or agent over each transport; the protocol's plan may fill in the address.
func (pl *planner) portsOf(p *protocol, s Server, address, state string) []Port {
	var ports []Port
	for _, transport := range p.transports {
		port := Port{Server: s.Name, Protocol: p.name, Transport: transport, Address: address, agent: state}
		if p.plan != nil {
			p.plan(pl, s, &port)
		}
		if port.Address != "" || port.Unasked() {
			ports = append(ports, port)
		}
	}
	return ports
}

// ports returns all ports to show.
func (pl *planner) ports() []Port {
	var ports []Port
	for _, s := range pl.topology.Servers {
		for i := range protocols {
			if p := &protocols[i]; p.listens == nil && pl.wants(p.name) {
				ports = append(ports, pl.portsOf(p, s, "", s.state())...)
			}
		}
	}
	return pl.oneVoice(append(ports, pl.clientPorts()...))
}

// agentPorts returns the TCP ports of the configured agent.
func (pl *planner) agentPorts() []BoundPort {
	if pl.agent == nil {
		return nil
	}
	addrs, name := pl.agent.addresses(), pl.agentName()
	var bound []BoundPort
	for _, p := range pl.ports() {
		if host, _, _ := net.SplitHostPort(p.Address); p.Server == name && p.Transport == TransportTCP && host != "" {
			bound = append(bound, BoundPort{p, addrs})
		}
	}
	return bound
}

func (pl *planner) planLAN(s Server, port *Port) {
	pl.planGossip(s, port, s.Host, s.LANPort, pl.agent != nil && !pl.agent.EncryptedLAN)
}

func (pl *planner) planWAN(s Server, port *Port) {
	host, guess := pl.wanHost(s)
	settings := pl.settingsOrAgents(s)
	plain := settings != nil && !settings.EncryptedWAN && (settings.Server || !settings.EncryptedLAN)
	pl.planGossip(s, port, host, s.WANPort, plain)
	port.tentative, port.doubtful = guess && !port.Unasked(), guess && port.Transport == TransportTCP
	if port.Transport == TransportUDP {
		planThroughGateways(settings, port)
	}
}

// wanHost returns where a server's WAN gossip is, and whether that is a guess. Servers may have another interface for
// it (serf_wan), which a server tells by itself, or through the address that the WAN pool has of it. That address
// counts for nothing if it is translated on the way, as the agent's is then, too. A client agent has no WAN pool.
func (pl *planner) wanHost(s Server) (host string, guess bool) {
	pool := pl.wanHosts[s.ID]
	switch own := pl.settings(s); {
	case own != nil && own.wanApart():
		return cmp.Or(pool, own.WANBindAddr), false
	case own != nil:
		return s.Host, false
	case pl.agent == nil || !pl.agent.Server:
		return s.Host, true
	case pl.agent.wanApart():
		return pool, false
	case pool == "" || pl.wanHosts[pl.agent.ID] != pl.agent.AdvertiseAddr:
		return s.Host, true
	default:
		return pool, false
	}
}

// wantsWANHosts reports whether the WAN pool has to be asked for the servers' addresses.
func (pl *planner) wantsWANHosts() bool {
	return pl.agent != nil && pl.agent.Server && pl.wants(ProtocolSerfWAN) &&
		slices.ContainsFunc(pl.topology.Servers, func(s Server) bool {
			own := pl.settings(s)
			return s.WANPort != 0 && (own == nil || own.wanApart())
		})
}

// planGossip fills in a Serf port of a pool. Only a pool that is known to be in plain text is asked in plain text,
// which would be an error in the log of an agent that encrypts.
//
// While encryption is being introduced (encrypt_verify_incoming, encrypt_verify_outgoing), agents that send plain
// text all accept it, because others may have no key yet.
func (pl *planner) planGossip(s Server, port *Port, host string, number int, plain bool) {
	if number == 0 || s.unprobed() != "" {
		return
	}
	port.Address = address(host, number)
	if host == "" {
		port.leaveOut(withoutWANAddress)
		return
	}
	if !pl.opts.allow(s.Host) || !pl.opts.allow(host) {
		port.leaveOut(notAllowed)
		return
	}
	encrypted := !plain && (pl.agent == nil || !pl.agent.PlainGossip)
	port.Serf = probe.SerfTarget{Address: port.Address, Encrypted: encrypted, Keys: pl.serfKeys}
	rejected := false
	if encrypted && pl.usableKeys != nil {
		keys := pl.usableKeys(port.Protocol, port.Address, pl.serfKeys)
		if rejected = len(keys) == 0; !rejected { // Otherwise the port has rejected all, and is held back.
			port.Serf.Keys = keys
		}
	}
	switch {
	case !port.ConnectOnly():
	case pl.agent == nil && port.Transport == TransportUDP:
		port.leaveOut(unknownEncryption)
	case pl.agent == nil:
		port.Hint = unknownEncryption.note
	default:
		port.Hint = "gossip is encrypted, and there is no key to ask with (--serf.encrypt-key-file)"
	}
	port.unproven = port.Transport == TransportUDP && encrypted && len(port.Serf.Keys) > 0 &&
		(rejected || pl.proven == nil || !pl.proven(port.Protocol, port.Serf.Keys[0]))
}

// planThroughGateways leaves out WAN gossip over UDP where datacenters are federated through mesh gateways: Consul
// wants each ping there to name its sender (Consul: wanfed.Transport), and logs an error for any other. A client agent
// does not know about it.
func planThroughGateways(settings *Agent, udp *Port) {
	switch {
	case settings == nil || udp.Address == "":
	case settings.WANThroughGateways:
		udp.leaveOut(throughGateways)
	case !settings.Server:
		udp.doubtful = true
	}
}

// wantsMeshCA reports whether the ports can be probed only with the authority of the service mesh.
func (pl *planner) wantsMeshCA() bool {
	return pl.agent != nil && !pl.agent.withoutMeshCA() && pl.agent.ports[ProtocolGRPCTLS] != 0 &&
		pl.opts.ClientPorts != ClientPortsOff && pl.wants(ProtocolGRPCTLS) &&
		(pl.agent.GRPCOwnCA || slices.ContainsFunc(pl.topology.Servers, pl.grpcOwnCA))
}

// agentName is the name that the agent has as a server, or else by its own account.
func (pl *planner) agentName() string { return cmp.Or(pl.topology.Called(pl.agent.ID), pl.agent.Name) }

func (pl *planner) datacenter() string {
	if pl.agent == nil {
		return ""
	}
	return pl.agent.Datacenter
}

func (pl *planner) domain() string {
	if pl.agent == nil {
		return "consul"
	}
	return cmp.Or(pl.agent.Domain, "consul")
}

// tlsFor returns the client's side of TLS for an agent's HTTPS and gRPC. Certificates of agents are for
// server.<datacenter>.<domain> or client.<datacenter>.<domain>, and not always for their address: any of these will
// do, unless the user wants a certain name.
func (pl *planner) tlsFor(host string) *tls.Config {
	if pl.clientTLS != nil && pl.clientTLS.ServerName != "" {
		return pl.clientTLS
	}
	suffix := "." + pl.datacenter() + "." + pl.domain()
	return consul.WithAnyName(pl.clientTLS, host, "server"+suffix, "client"+suffix)
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// probePort probes one port, when fewer probes than allowed are under way.
func (c *Cluster) probePort(ctx context.Context, port Port) PortReport {
	report := PortReport{Port: port}
	if port.rejected != nil {
		err := port.rejected
		if !errors.Is(err, probe.ErrHeldBack) {
			err = fmt.Errorf("%w: %w", probe.ErrHeldBack, err)
		}
		report.Result = probe.NotMade(err)
		return report
	}
	if refused, ok := c.refusedProbe(port); ok {
		c.judgeGuess(&refused)
		return refused
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Ports.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
		port.Protocol.row().ask(c, ctx, &report)
		c.noteProbe(&report)
		c.judgeGuess(&report)
		report.judgeCertificate()
	case <-ctx.Done():
		report.Result = probe.NotMade(probe.ErrNoTurn)
	}
	if report.Result.Reason == probe.ReasonOwnFault {
		c.probeFaults.Add(1)
	}
	return report
}

// probes are the probes of one scrape: each port is probed at most once.
type probes struct {
	ctx context.Context // That of the scrape.
	run func(context.Context, Port) PortReport

	mu      sync.Mutex
	started map[portKey]*Fact[PortReport] // Guarded by mu.
}

// start starts the probes of those ports that are not probed yet.
func (p *probes) start(ports []Port) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range ports {
		if !port.Unasked() && port.heldBy == "" && p.started[port.key()] == nil {
			p.started[port.key()] = new(Fact[PortReport]).Start(p.ctx, func(ctx context.Context) (PortReport, error) {
				return p.run(ctx, p.withProvenKey(port)), nil
			})
		}
	}
}

// withProvenKey waits for what a gossip port says over TCP to a key that is unproven, and takes the key from there.
func (p *probes) withProvenKey(port Port) Port {
	if !port.unproven {
		return port
	}
	tcp := port
	tcp.Transport, tcp.unproven = TransportTCP, false
	answer := p.answer(tcp)
	port.Serf.Keys = answer.Serf.Keys
	if res := &answer.Result; res.TurnedAway() || res.Reason == probe.ReasonHeldBack {
		port.rejected = res.Err
	}
	return port
}

// answer probes a port, as far as it is not probed yet, and returns the report.
func (p *probes) answer(port Port) PortReport {
	if port.heldBy != "" {
		return port.notThere()
	}
	if port.Unasked() { // Another port with this address may be probed.
		return unaskedReport(port)
	}
	p.start([]Port{port})
	p.mu.Lock()
	answer := p.started[port.key()]
	p.mu.Unlock()
	report, err := answer.Wait()
	if err != nil {
		report.Result = probe.NotMade(err)
	}
	return report
}

// wait probes the ports, unless they have been, and returns the reports. It takes no longer than the probes.
func (p *probes) wait(ports []Port) []PortReport {
	p.start(ports)
	reports := make([]PortReport, 0, len(ports))
	for _, port := range ports {
		report := p.answer(port)
		port.Note, port.skip = report.Note, report.skip // A guess may have turned out to be wrong.
		report.Port = port
		reports = append(reports, report)
	}
	return reports
}
