// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"

	"github.com/zervigo/consul_cluster_exporter/catalog"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/fact"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// Snapshot is everything known about the cluster during one scrape. Each method starts fetching its fact when it is
// first called and returns at once; Fact.Get waits for it. Anyone who needs several facts starts all of them before
// waiting for the first, so that they are fetched in parallel. A fact that cannot be had is an error for everyone who
// asks, and never prevents another. The context of the snapshot bounds all fetching.
type Snapshot struct {
	cluster *Cluster
	ctx     context.Context // A snapshot is scoped to one scrape, as a request is.
	cancel  context.CancelFunc
	start   time.Time
	// address is that of the agent, unless there are several: then it is one of trials that choice chooses.
	address consul.Address
	trials  []*Snapshot
	choice  Fact[*Snapshot]
	// before is what was known from earlier scrapes when this one began.
	before known

	self            Fact[Agent]
	rights          Fact[tokenRights]
	up              Fact[bool]
	members         Fact[[]Member]
	wanMembers      Fact[[]Member]
	raftPeers       Fact[[]RaftPeer]
	leaderRaftPeers Fact[[]RaftPeer]
	votingPeers     Fact[[]RaftPeer]
	statusLeader    Fact[string]
	statusPeers     Fact[[]string]
	catalog         Fact[*catalog.Catalog]
	overview        Fact[*catalog.Overview]

	catalogNodes     Fact[catalog.Entries]
	catalogNodeCount Fact[int]
	topology         Fact[Topology]
	meshList         Fact[api.CARootList]
	mesh             Fact[*meshCA]
	decision         Fact[decision]
	reports          Fact[[]Report]
	decidedTopology  Fact[Topology]
	portReports      Fact[[]PortReport]
	agentPorts       Fact[[]BoundPort]
	serverAgents     Fact[map[string]Agent]
	urlHosts         Fact[[]string]
	membersSeen      Fact[map[string][]Member]
	raftContacts     Fact[map[string]bool]

	autopilotState  Fact[AutopilotState]
	leaderAutopilot Fact[AutopilotState]
	autopilotConfig Fact[AutopilotConfig]
	leaderSettings  Fact[AutopilotConfig]
	consistentRead  Fact[ConsistentRead]
	serverRTTs      Fact[[]RTT]
	telemetry       Fact[Telemetry]
	meshRoots       Fact[[]MeshRoot]
	peerings        Fact[[]Peering]
	aclReplication  Fact[ACLReplication]
	license         Fact[api.LicenseReply]
	sessions        Fact[int]
	keyNumbers      Fact[[]KeyNumber]
	datacenters     Fact[int]

	probes probes

	mu    sync.Mutex
	metas map[string]QueryMeta // Guarded by mu: by endpoint.
	// agentGone is whether nothing listened at the configured agent's address when it was last asked. Guarded by mu.
	agentGone bool
	// restarted is whether the agent has answered after that. Guarded by mu.
	restarted bool
	// passedOver is whether the scrape went on without the answer of the agent. Guarded by mu.
	passedOver bool
}

// QueryMeta is what an answer says about its own worth.
type QueryMeta struct {
	// LeaderKnown is whether the answering server knows a leader, and LastContactSeconds how long ago it heard from it.
	// HasLeader is whether the answer says so.
	HasLeader          bool
	LeaderKnown        bool
	LastContactSeconds float64
	// Filtered is whether the token's rights left something out of the answer.
	Filtered bool
	// DefaultACLPolicy is the agent's; empty when it does not tell.
	DefaultACLPolicy string
}

// Snapshot starts one. All its fetching ends a little before ctx does, so that what a hanging server leaves out is
// known in time to deliver all the rest. Close must be called at the end.
func (c *Cluster) Snapshot(ctx context.Context) *Snapshot {
	ctx, cancel := withMargin(ctx)
	remembered, start := c.remembered(), time.Now()
	c.mu.Lock()
	c.known.remembered, c.known.seen = remembered, start
	before := c.known
	c.mu.Unlock()
	s := c.snapshotOf(ctx, cancel, c.opts.Client.Address, before)
	s.start, s.trials = start, s.newTrials()
	return s
}

// snapshotOf returns a snapshot of one agent.
func (c *Cluster) snapshotOf(
	ctx context.Context, cancel context.CancelFunc, address consul.Address, before known,
) *Snapshot {
	return &Snapshot{
		cluster: c, ctx: ctx, cancel: cancel, start: time.Now(), address: address,
		before: before, agentGone: before.agentGone, metas: make(map[string]QueryMeta),
		probes: probes{ctx: ctx, run: c.probePort, started: make(map[portKey]*Fact[PortReport])},
	}
}

// withMargin returns a context that ends a little before ctx does.
func withMargin(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(250*time.Millisecond, time.Until(deadline)/10)))
}

// TimedOut reports whether the time for fetching is over.
func (s *Snapshot) TimedOut() bool { return errors.Is(s.ctx.Err(), context.DeadlineExceeded) }

// Done is closed when the time for fetching is over.
func (s *Snapshot) Done() <-chan struct{} { return s.ctx.Done() }

// Start is when the snapshot was begun.
func (s *Snapshot) Start() time.Time { return s.start }

// Address is that of the agent that is used in this scrape. If several are configured, it waits until one is chosen.
func (s *Snapshot) Address() consul.Address { return s.used().address }

// AgentOnly is whether nothing but the configured agent may be asked.
func (s *Snapshot) AgentOnly() bool { return s.cluster.opts.AgentOnly }

// KnownAgent is what the configured agent says about itself in this scrape, or else last said; nil if it never did.
func (s *Snapshot) KnownAgent() *Agent {
	if agent, ok := s.self.Peek(); ok {
		return &agent
	}
	if u := s.chosen(); u != nil && u != s {
		return u.KnownAgent()
	}
	return s.before.agent
}

// FailingFiles are why files could not be read again, so that what they held before is in use.
func (s *Snapshot) FailingFiles() []string { return s.cluster.failingFiles() }

// Certificates are those that the exporter itself shows and trusts.
func (s *Snapshot) Certificates() []Certificate { return s.cluster.certificates(s.start) }

// Close ends all fetching, and the connections to Consul. The cluster keeps what is known by now for the next
// snapshot.
func (s *Snapshot) Close() {
	s.cancel()
	s.cluster.learn(s)
	s.cluster.client.CloseIdle()
}

// All but the chosen endpoints are read with ?stale; those under /v1/agent and /v1/status need no leader.
var (
	endpointSelf       = consul.Endpoint{Path: "/v1/agent/self"}
	endpointMembers    = consul.Endpoint{Path: "/v1/agent/members"}
	endpointWANMembers = consul.Endpoint{Path: "/v1/agent/members", Params: map[string][]string{"wan": {"1"}}}
	endpointRaft       = consul.Endpoint{Path: "/v1/operator/raft/configuration"}
	// endpointLeaderRaft is the same, of the leader.
	endpointLeaderRaft   = consul.Endpoint{Path: "/v1/operator/raft/configuration", Consistency: consul.ConsistencyDefault}
	endpointStatusLeader = consul.Endpoint{Path: "/v1/status/leader"}
	endpointStatusPeers  = consul.Endpoint{Path: "/v1/status/peers"}
	endpointDatacenters  = consul.Endpoint{Path: "/v1/catalog/datacenters"}
)

// Agent is what the configured agent says about itself.
func (s *Snapshot) Agent() *Fact[Agent] {
	return s.self.Start(s.ctx, func(ctx context.Context) (Agent, error) {
		if u := s.used(); u != s {
			return u.Agent().Get(ctx)
		}
		return s.agentAt(ctx, s.address)
	})
}

func (s *Snapshot) agentAt(ctx context.Context, address consul.Address) (Agent, error) {
	var self agentSelf
	var conn connection
	if err := s.read(conn.trace(ctx), address, endpointSelf, &self); err != nil {
		return Agent{}, err
	}
	agent, err := newAgent(&self)
	agent.direct = agent.listensAt(conn.remote())
	return agent, err
}

// Up is whether the HTTP API of any configured agent answers. An agent that may not tell about itself, or that has lost
// its servers, is up; one that turns requests away because of its limits is not, nor is another program. It is an error
// if the agent could not be asked because of this process.
func (s *Snapshot) Up() *Fact[bool] {
	return s.up.Start(s.ctx, func(ctx context.Context) (bool, error) {
		self, leader := s.Agent(), s.StatusLeader()
		if _, err := leader.Get(ctx); consul.IsDealtWith(err) {
			return true, nil
		}
		_, err := self.Get(ctx)
		if probe.IsOwnFault(err) {
			return false, err
		}
		return err == nil, nil
	})
}

// Members is the agent's LAN pool.
func (s *Snapshot) Members() *Fact[[]Member] {
	return s.members.Start(s.ctx, func(ctx context.Context) ([]Member, error) {
		if u := s.used(); u != s {
			return u.Members().Get(ctx)
		}
		return readList(ctx, s, s.Address(), endpointMembers, newMember)
	})
}

// WANMembers is the agent's WAN pool: empty on a client.
func (s *Snapshot) WANMembers() *Fact[[]Member] {
	return s.wanMembers.Start(s.ctx, func(ctx context.Context) ([]Member, error) {
		return readList(ctx, s, s.Address(), endpointWANMembers, newMember)
	})
}

// RaftPeers is the Raft configuration. A server that has never heard of a leader has it by its own account.
func (s *Snapshot) RaftPeers() *Fact[[]RaftPeer] {
	return s.raftPeers.Start(s.ctx, func(ctx context.Context) ([]RaftPeer, error) {
		var config api.RaftConfiguration
		err := s.readAgent(ctx, endpointRaft, &config)
		if errors.Is(err, errNeverHeard) {
			if agent, agentErr := s.Agent().Get(ctx); agentErr == nil && agent.Raft != nil {
				return agent.Raft.Peers, nil
			}
		}
		if err != nil {
			return nil, err
		}
		return newRaftPeers(&config), nil
	})
}

// LeaderRaftPeers is the Raft configuration of the leader. That of another server may be old, such as of one that hung
// and has not caught up. An agent that knows of no leader lets the question hang.
func (s *Snapshot) LeaderRaftPeers() *Fact[[]RaftPeer] {
	return s.leaderRaftPeers.Start(s.ctx, func(ctx context.Context) ([]RaftPeer, error) {
		config, err := answerOf[api.RaftConfiguration](s, endpointLeaderRaft)(ctx)
		if err != nil {
			return nil, err
		}
		return newRaftPeers(&config), nil
	})
}

func newRaftPeers(config *api.RaftConfiguration) []RaftPeer {
	peers := make([]RaftPeer, 0, len(config.Servers))
	for _, server := range config.Servers {
		if server != nil {
			peers = append(peers, newRaftPeer(server))
		}
	}
	return peers
}

// StatusLeader is the address of the leader by the agent's account; empty when it knows of none.
func (s *Snapshot) StatusLeader() *Fact[string] {
	return s.statusLeader.Start(s.ctx, answerOf[string](s, endpointStatusLeader))
}

// StatusPeers are the addresses of the Raft peers by the agent's account.
func (s *Snapshot) StatusPeers() *Fact[[]string] {
	return s.statusPeers.Start(s.ctx, answerOf[[]string](s, endpointStatusPeers))
}

// Datacenters is the number of datacenters that the agent knows of.
func (s *Snapshot) Datacenters() *Fact[int] {
	return s.datacenters.Start(s.ctx, func(ctx context.Context) (int, error) {
		names, err := answerOf[[]string](s, endpointDatacenters)(ctx)
		return len(names), err
	})
}

// Topology is who belongs to the cluster by the Serf members and the Raft configuration of this scrape, or else the
// last good ones. It is an error only if there never was any.
func (s *Snapshot) Topology() *Fact[Topology] {
	return s.topology.Start(s.ctx, func(ctx context.Context) (Topology, error) {
		if s.cluster.opts.AgentOnly { // Asking who the servers are would be asking the servers.
			return Topology{}, nil
		}
		lan, raft := s.Members(), s.peersToVote()
		members, membersErr := lan.Get(ctx)
		peers, peersErr := raft.Get(ctx)
		if err := checkServers(members, peers); err != nil {
			return Topology{}, err
		}
		latest := s.before.with(members, s.MembersFiltered(), peers)
		t := latest.topology()
		if len(t.Servers) == 0 {
			return Topology{}, errors.Join(errNoServers, membersErr, peersErr)
		}
		return t, nil
	})
}

// errNoServers means that the agent does not name any, and did not earlier.
var errNoServers = errors.New("no server of the cluster is known (may the token read nodes?)")

// peersToVote are the Raft configuration, or else the addresses of /v1/status/peers, which needs no right: all of
// them are taken for voters, except read replicas of Consul Enterprise.
func (s *Snapshot) peersToVote() *Fact[[]RaftPeer] {
	return s.votingPeers.Start(s.ctx, func(ctx context.Context) ([]RaftPeer, error) {
		peers, err := s.RaftPeers().Get(ctx)
		if !errors.Is(err, consul.ErrRefused) && !errors.Is(err, errNeverHeard) {
			return peers, err
		}
		addresses, err := s.StatusPeers().Get(ctx)
		for _, address := range addresses {
			peers = append(peers, RaftPeer{Address: address, Voter: true, VoterAssumed: true})
		}
		return peers, err
	})
}

// Reports are what the servers say on their port 8300, by name. Servers known from earlier scrapes are asked at once,
// without waiting for the agent, which may be what hangs. Which of them have a vote, the configuration of the server
// that counts decides, see Topology.decided.
func (s *Snapshot) Reports() *Fact[[]Report] {
	return s.reports.Start(s.ctx, func(ctx context.Context) ([]Report, error) {
		d, err := s.decide().Get(ctx)
		return d.reports, err
	})
}

// DecidedTopology is the Topology with the Raft configuration that counts, by what the servers say on their port 8300:
// an agent that does not answer, or that was cut off, has an old one.
func (s *Snapshot) DecidedTopology() *Fact[Topology] {
	return s.decidedTopology.Start(s.ctx, func(ctx context.Context) (Topology, error) {
		d, err := s.decide().Get(ctx)
		return d.topology, err
	})
}

// decision is the topology by what the servers said, and what each of its servers said.
type decision struct {
	topology Topology
	reports  []Report
}

func (s *Snapshot) decide() *Fact[decision] {
	return s.decision.Start(s.ctx, func(ctx context.Context) (decision, error) {
		pl, err := s.plan(ctx, s.earlier().rpcs())
		if err != nil {
			return decision{}, err
		}
		reports := s.reportsBy(pl)
		pl.topology = pl.topology.decided(reports)
		if members, ok := s.members.Peek(); !ok || !hasServer(members) {
			pl.topology.markDropped(reports, s.before.remembered, s.start)
		}
		return decision{pl.topology, s.reportsBy(pl)}, nil
	})
}

// reportsBy waits for the probes of port 8300, as far as they have not been made.
func (s *Snapshot) reportsBy(pl *planner) []Report {
	said := make(map[string]probe.RPCResult)
	for _, answer := range s.probes.wait(pl.rpcs()) {
		said[answer.Server] = probe.RPCResult{Result: answer.Result, Raft: answer.raft}
	}
	reports := make([]Report, 0, len(pl.topology.Servers))
	for _, server := range pl.topology.Servers {
		report, asked := said[server.Name]
		if !asked {
			report.Result = probe.NotMade(probe.ErrNotAllowed)
		}
		reports = append(reports, Report{Server: server, RPC: report})
	}
	return reports
}

// PortReports are how the probes of all ports went, by server and port. As with Reports, known ports are probed at
// once.
func (s *Snapshot) PortReports() *Fact[[]PortReport] {
	return s.portReports.Start(s.ctx, func(ctx context.Context) ([]PortReport, error) {
		pl, err := s.plan(ctx, s.earlier().ports(), s.findURLHosts, s.findSettings, s.findMeshCA, s.findWANHosts)
		if err != nil {
			return nil, err
		}
		return s.probes.wait(pl.ports()), nil
	})
}

// AgentPorts are the TCP ports of the configured agent; they are not probed for this.
func (s *Snapshot) AgentPorts() *Fact[[]BoundPort] {
	return s.agentPorts.Start(s.ctx, func(ctx context.Context) ([]BoundPort, error) {
		pl, err := s.plan(ctx, nil, s.findURLHosts, s.findSettings, s.findWANHosts)
		if err != nil {
			return nil, err
		}
		return pl.agentPorts(), nil
	})
}

// earlier plans with what is known from earlier scrapes.
func (s *Snapshot) earlier() *planner {
	return s.cluster.planner(&s.before, s.before.topology(), s.before.agent)
}

// plan plans with what is known in this scrape and what find adds to that, while the ports that are known already are
// probed. It leaves time for the other probes: an agent that has not answered by then is taken as it was.
func (s *Snapshot) plan(ctx context.Context, early []Port, find ...func(context.Context, *planner)) (*planner, error) {
	topology, agent := s.Topology(), s.Agent()
	s.probes.start(s.earlier().early(early))
	ctx, cancel := withMargin(ctx)
	defer cancel()
	pl := s.earlier()
	switch t, err := topology.Get(ctx); {
	case err == nil:
		_, _ = agent.Get(ctx) // Without it the last one has to do.
		pl = s.cluster.planner(&s.before, t, s.KnownAgent())
		pl.configured = s.Address()
	case ctx.Err() == nil || len(pl.topology.Servers) == 0:
		return nil, err
	}
	for _, add := range find {
		add(ctx, pl)
	}
	return pl, nil
}

// findMeshCA adds the authority of the service mesh to a plan that needs it. Without an answer, the last one is used.
func (s *Snapshot) findMeshCA(ctx context.Context, pl *planner) {
	if !pl.wantsMeshCA() {
		return
	}
	if ca, err := s.meshAuthority().Get(ctx); err == nil {
		pl.mesh = ca
	}
}

// findWANHosts adds the servers' addresses in the WAN pool to a plan that needs them. Without an answer, or with a
// token that may see nobody, the last ones are used.
func (s *Snapshot) findWANHosts(ctx context.Context, pl *planner) {
	if !pl.wantsWANHosts() {
		return
	}
	if wan, err := s.WANMembers().Get(ctx); err == nil && hasServer(wan) {
		pl.wanHosts = serverHosts(wan)
	}
}

// ServerAgents are what the servers say about themselves, see serversSay.
func (s *Snapshot) ServerAgents() *Fact[map[string]Agent] {
	itself := func(_ context.Context, _ consul.Address, agent Agent) (Agent, error) { return agent, nil }
	return s.serverAgents.Start(s.ctx, serversSay(s, s.Agent(), itself))
}

// MembersSeen are the LAN members as the servers see them, see serversSay. Behind a balancer it is not known whose the
// members are that the agent names.
func (s *Snapshot) MembersSeen() *Fact[map[string][]Member] {
	membersAt := func(ctx context.Context, at consul.Address, _ Agent) ([]Member, error) {
		return readList(ctx, s, at, endpointMembers, newMember)
	}
	say := serversSay(s, s.Members(), membersAt)
	return s.membersSeen.Start(s.ctx, func(ctx context.Context) (map[string][]Member, error) {
		seen, err := say(ctx)
		if agent, ok := s.self.Peek(); ok && s.balanced() {
			delete(seen, agent.ID)
		}
		return seen, err
	})
}

// serversSay fetches an answer of each server by node ID: of the configured agent, if it is one, and of those whose
// HTTP API can be expected to answer and does. An answer is that of the server whose ID the agent at the address gives,
// not of the one that was expected there.
func serversSay[T any](
	s *Snapshot, own *Fact[T], ask func(context.Context, consul.Address, Agent) (T, error),
) func(context.Context) (map[string]T, error) {
	return func(ctx context.Context) (map[string]T, error) {
		agent, members := s.Agent(), s.Topology()
		self, err := agent.Get(ctx)
		if err != nil {
			return nil, err
		}
		said := make(map[string]T)
		if self.Server && self.ID != "" {
			if said[self.ID], err = own.Get(ctx); err != nil {
				return nil, err
			}
		}
		topology, err := members.Get(ctx)
		if err != nil || !s.reaches(self) {
			return said, nil // Whoever needs the topology itself gets the error.
		}
		var mu sync.Mutex
		var group errgroup.Group
		group.SetLimit(s.cluster.opts.Ports.Concurrency)
		for _, host := range s.hostsToAsk(topology, &self) {
			group.Go(func() error {
				at := s.Address()
				at = at.OnPort(host, cmp.Or(self.ports[protocolOf(at)], at.Port()))
				other, err := s.agentAt(ctx, at)
				if err != nil || topology.Called(other.ID) == "" || other.ID == self.ID {
					return nil // The HTTP port has a probe of its own.
				}
				if answer, err := ask(ctx, at, other); err == nil {
					mu.Lock()
					said[other.ID] = answer
					mu.Unlock()
				}
				return nil
			})
		}
		return said, group.Wait()
	}
}

// hostsToAsk returns the addresses of the other servers that may be asked over HTTP. Of servers that share an address,
// the one that answers there is asked.
func (s *Snapshot) hostsToAsk(t Topology, self *Agent) []string {
	var hosts []string
	for _, server := range t.Servers {
		itself := self.is(server) || server.Host == self.AdvertiseAddr
		if !itself && s.mayAnswer(server) && !slices.Contains(hosts, server.Host) {
			hosts = append(hosts, server.Host)
		}
	}
	return hosts
}

// mayAnswer reports whether a server may be asked over HTTP and can be expected to answer. One that hangs already
// would only collect connections in its accept queue.
func (s *Snapshot) mayAnswer(server Server) bool {
	return server.Status == StatusAlive && !s.cluster.prober.Silent(server.RPCAddress) &&
		s.cluster.opts.Ports.allow(server.Host)
}

// Queries returns what the answers of this scrape said about their own worth, by endpoint.
func (s *Snapshot) Queries() map[string]QueryMeta {
	s.mu.Lock()
	metas := maps.Clone(s.metas)
	s.mu.Unlock()
	if u := s.chosen(); u != nil && u != s {
		maps.Copy(metas, u.Queries())
	}
	return metas
}

// answerOf returns how to fetch a fact that is an answer of the configured agent, as it is.
func answerOf[T any](s *Snapshot, ep consul.Endpoint) func(context.Context) (T, error) {
	return func(ctx context.Context) (answer T, err error) {
		err = s.readAgent(ctx, ep, &answer)
		return answer, err
	}
}

// readAgent reads an endpoint of the configured agent.
func (s *Snapshot) readAgent(ctx context.Context, ep consul.Endpoint, out any) error {
	return s.read(ctx, s.Address(), ep, out)
}

// read reads an endpoint of the agent at address, unless permit objects. If only the leader answers, the questions
// about the leader and this one share the time of one.
func (s *Snapshot) read(ctx context.Context, address consul.Address, ep consul.Endpoint, out any) error {
	if ep.Chosen {
		ep.Consistency = s.cluster.opts.Client.Consistency
	}
	if ep.AnsweredBy() == consul.ByLeader {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(ep.Timeout, s.cluster.opts.Client.Timeout))
		defer cancel()
	}
	if err := s.permit(ctx, address, &ep); err != nil {
		return fmt.Errorf("read %s: %w", ep.Name(), err)
	}
	meta, err := s.cluster.client.Get(ctx, address, ep, out)
	if u := s.used(); address == u.address {
		u.noteAnswer(err)
	}
	if err != nil {
		return err
	}
	if ep.Body != nil { // It is about the token, and no part of what the token may read.
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metas[ep.Name()] = QueryMeta{
		HasLeader:          ep.HasMeta,
		LeaderKnown:        meta.KnownLeader,
		LastContactSeconds: meta.LastContact.Seconds(),
		Filtered:           meta.ResultsFilteredByACLs || s.metas[ep.Name()].Filtered,
		DefaultACLPolicy:   meta.DefaultACLPolicy,
	}
	return nil
}

// noteAnswer notes whether the configured agent was reached. One that answers after being gone was restarted.
func (s *Snapshot) noteAnswer(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := probe.ReasonOf(err) == probe.ReasonRefused
	s.restarted = s.restarted || (s.agentGone && !gone)
	s.agentGone = gone
}

// Fact is something that is fetched at most once during a scrape.
type Fact[T any] = fact.Fact[T]
