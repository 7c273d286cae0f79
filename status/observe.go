// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// What the log is about.
const (
	watchStart    = "start"
	watchQuorum   = "quorum"
	watchLeader   = "leader"
	watchWrites   = "writes"
	watchReads    = "reads"
	watchServer   = "server"
	watchPorts    = "ports"
	watchAgent    = "agent"
	watchExporter = "exporter"
)

// States of Change that no other package has a word for.
const (
	stateElected    = "elected"
	stateSplit      = "split_brain"
	stateAnswering  = "answering"
	stateHung       = "hung"
	stateDown       = "down"
	stateFailing    = "failing"
	stateSucceeding = "succeeding"
	stateBlind      = "blind"
	stateSeeing     = "seeing"
	stateImpaired   = "impaired"
	stateUnimpaired = "unimpaired"
)

// States are the states of all that Change is about: the good one first, except that a start has levels.
func States() map[string][]string {
	return map[string][]string{
		watchStart: {string(LevelHealthy), string(LevelDegraded), string(LevelCritical), string(LevelUnknown)},
		watchQuorum: {
			string(verdict.QuorumHeld), string(verdict.QuorumLost), string(verdict.QuorumUnknown), stateSplit,
		},
		watchLeader:   {stateElected},
		watchWrites:   {string(verdict.WritesCommitting), string(verdict.WritesStalled)},
		watchReads:    {stateSucceeding, stateFailing},
		watchServer:   {stateAnswering, stateHung, stateDown},
		watchPorts:    {stateAnswering, stateFailing},
		watchAgent:    {stateAnswering, stateFailing},
		watchExporter: {stateSeeing, stateBlind, stateUnimpaired, stateImpaired},
	}
}

// brief are the states that a single scrape may see when nothing is wrong, because there is an election or an answer
// was late. They are logged when they were seen in two scrapes in a row, or in the first one, as are failing ports.
var brief = map[string][]string{
	watchQuorum: {string(verdict.QuorumUnknown)}, watchReads: {stateFailing}, watchExporter: {stateBlind, stateImpaired},
}

// observation is what a scrape can tell about a subject.
type observation struct {
	Change

	// state is State, and everything else that makes a difference; before is the one of a subject that was not observed
	// before: a good one, so that the log has its first problem and not that there is none.
	state, before string
}

// observing collects observations.
type observing struct {
	*evidence

	problems []finding
	watch    *Watch // What is in the log from earlier scrapes.
	all      []observation
}

// observe tells the state of each subject, except where a problem follows from another one or nothing is known.
func (w *Watch) observe(e *evidence, problems []finding) []observation {
	o := &observing{evidence: e, problems: problems, watch: w}
	o.observeQuorum()
	o.observeUse()
	o.observeServers()
	o.observePorts()
	o.observeAgents()
	o.observeExporter()
	return o.all
}

// problem returns the first problem with one of these names, of a server or, if that is empty, of any.
func (o *observing) problem(server string, names ...string) *finding {
	i := slices.IndexFunc(o.problems, func(f finding) bool {
		return slices.Contains(names, f.Alert) && (server == "" || f.Server == server)
	})
	if i < 0 {
		return nil
	}
	return &o.problems[i]
}

func (o *observing) add(seen observation) { o.all = append(o.all, seen) }

// good notes that all is well with a subject.
func (o *observing) good(what, name, state, text string, details ...any) {
	o.add(observation{
		Change: Change{What: what, State: state, Text: text, Details: details, name: name}, state: state, before: state,
	})
}

// bad notes a problem of a subject whose good state is this.
func (o *observing) bad(what, name, state, good string, f *finding, details ...any) {
	o.add(observation{
		Change: Change{what, state, true, f.Text, append(details, "alert", f.Alert), name}, state: state, before: good,
	})
}

// quorumProblems are those without a quorum that follows one leader. One of them is the reason for the others.
var quorumProblems = []string{"ConsulSplitBrain", "ConsulQuorumLost", "ConsulNoLeader", "ConsulQuorumUnknown"}

// observeQuorum looks at the quorum and at who leads.
func (o *observing) observeQuorum() {
	if !o.known() {
		return
	}
	held, state, leaders := string(verdict.QuorumHeld), string(o.Quorum.State), o.Leadership.Leaders
	if len(leaders) > 1 {
		state = stateSplit
	}
	if state == held {
		o.good(watchQuorum, "", held, fmt.Sprintf("The quorum is held: %s.", o.voters()))
	} else if f := o.problem("", quorumProblems...); f != nil {
		o.bad(watchQuorum, "", state, held, f)
	}
	if state == held && len(leaders) == 1 {
		o.add(observation{
			Change: Change{What: watchLeader, State: stateElected, Details: []any{"leader", leaders[0]}}, state: leaders[0],
		})
	}
}

// observeUse looks at what the servers are good for together.
func (o *observing) observeUse() {
	committing := string(verdict.WritesCommitting)
	if f := o.problem("", "ConsulWritesStalled"); f != nil {
		o.bad(watchWrites, "", string(verdict.WritesStalled), committing, f)
	} else if o.Writes.State == verdict.WritesCommitting {
		o.good(watchWrites, "", committing, "Writes commit again.")
	}
	if f := o.problem("", "ConsulConsistentReadsFail"); f != nil {
		o.bad(watchReads, "", stateFailing, stateSucceeding, f)
	} else if o.Consistent != nil && o.Consistent.OK {
		o.good(watchReads, "", stateSucceeding, "The cluster answers consistent reads again.")
	}
}

func (o *observing) observeServers() {
	for _, s := range o.servers {
		name := s.Server.Name
		hung, down := o.problem(name, "ConsulServerHung"), o.problem(name, "ConsulServerDown")
		answers := slices.ContainsFunc(s.Ports, func(p verdict.Port) bool { return p.State == verdict.PortUp })
		switch {
		case hung != nil:
			o.bad(watchServer, name, stateHung, stateAnswering, hung, "server", name)
		case down != nil:
			o.bad(watchServer, name, stateDown, stateAnswering, down, "server", name)
		case answers && !s.Hung && !s.Down:
			o.good(watchServer, name, stateAnswering, name+" answers again.", "server", name)
		}
	}
}

// observePorts looks at the ports of each server, and of the agent, together. Those of a server of which nothing
// answers follow from that. Without a quorum, the ports for clients wait for the servers. A port that cannot be probed
// is what it was.
func (o *observing) observePorts() {
	ports := make(map[string][]verdict.Port)
	var names []string
	for _, p := range o.ports {
		if o.leaderless() && !slices.Contains(betweenServers, p.Protocol) {
			continue
		}
		if ports[p.Server] == nil {
			names = append(names, p.Server)
		}
		ports[p.Server] = append(ports[p.Server], p)
	}
	for _, name := range names {
		silent := slices.ContainsFunc(o.servers, func(s *verdict.Server) bool {
			return s.Server.Name == name && (s.Hung || s.Down)
		})
		if silent || (o.agentDown() && name == o.agent.Name) {
			continue
		}
		var problems []finding
		for _, f := range o.problems {
			if f.Server == name && (f.Alert == "ConsulPortDown" || f.Alert == "ConsulGossipUDPBlocked") {
				problems = append(problems, f)
			}
		}
		o.observePortsOf(name, ports[name], problems)
	}
}

// betweenServers are the protocols that servers need for each other.
var betweenServers = []cluster.Protocol{cluster.ProtocolRPC, cluster.ProtocolSerfLAN, cluster.ProtocolSerfWAN}

// leaderless is whether no quorum is known to follow a leader.
func (o *observing) leaderless() bool { return o.known() && o.Quorum.State != verdict.QuorumHeld }

// observePortsOf looks at the ports of one server, of which these are the problems. A port that fails has failed in the
// scrape before, too, if there was one: a single probe may be late.
func (o *observing) observePortsOf(name string, ports []verdict.Port, problems []finding) {
	before, seen := o.watch.failingPorts(name)
	var now, failing, reasons, texts []string
	for _, f := range problems {
		of := portsOf(f, ports)
		if len(of) == 0 {
			continue
		}
		number := f.about["port"]
		if !slices.ContainsFunc(of, func(p verdict.Port) bool { return p.Transport == cluster.TransportTCP }) {
			number += "/udp"
		}
		now = append(now, number)
		if o.watch.first || slices.Contains(before, number) || slices.Contains(seen, number) {
			failing, texts = append(failing, number), append(texts, f.Text)
			reasons = append(reasons, string(of[0].Result.Reason))
		}
	}
	o.watch.seen[name] = now
	var unknown []string
	for _, number := range before {
		if !slices.Contains(failing, number) && o.unknownPort(number, ports) {
			unknown = append(unknown, number)
		}
	}
	switch {
	case len(failing)+len(unknown) == 0:
		o.add(observation{Change: Change{
			name: name, What: watchPorts, State: stateAnswering,
			Details: []any{"server", name, "ports", strings.Join(before, ",")},
			Text: fmt.Sprintf("%s of %s %s again.", numberedPorts(before), name,
				wording.Word(len(before), "answers", "answer")),
		}})
	case len(failing) > 0:
		text := texts[0]
		if len(failing) > 1 {
			slices.Sort(reasons)
			text = fmt.Sprintf("%s of %s do not answer (%s).", numberedPorts(failing), name,
				strings.Join(slices.Compact(reasons), ", "))
		}
		ports := strings.Join(slices.Sorted(slices.Values(slices.Concat(failing, unknown))), ",")
		o.add(observation{state: ports, Change: Change{
			watchPorts, stateFailing, true, text, []any{"server", name, "ports", ports, "alert", problems[0].Alert}, name,
		}})
	}
}

// portsOf are the ports that a problem is about.
func portsOf(f finding, ports []verdict.Port) (of []verdict.Port) {
	for _, p := range ports {
		if p.State.Failed() && strconv.Itoa(p.Number()) == f.about["port"] && string(p.Protocol) == f.about["protocol"] {
			of = append(of, p)
		}
	}
	return of
}

// unknownPort reports whether nothing is known of a port in this scrape.
func (o *observing) unknownPort(number string, ports []verdict.Port) bool {
	number, udp := strings.CutSuffix(number, "/udp")
	i := slices.IndexFunc(ports, func(p verdict.Port) bool {
		return strconv.Itoa(p.Number()) == number && (p.Transport == cluster.TransportUDP) == udp
	})
	if i < 0 {
		return o.leaderless() || len(o.Ports) == 0 // It was left out, or no port was probed.
	}
	return ports[i].State == verdict.PortUnknown
}

func numberedPorts(numbers []string) string {
	return wording.Word(len(numbers), "Port ", "Ports ") + wording.List(numbers)
}

// observeAgents looks at the agent that is queried, and at each of several. One on a server of which nothing answers
// follows from that.
func (o *observing) observeAgents() {
	address := o.Address.String()
	onServer := slices.ContainsFunc(o.servers, func(s *verdict.Server) bool {
		return s.Server.ID != "" && s.Server.ID == o.agent.ID && (s.Hung || s.Down)
	})
	switch f := o.problem("", alertUnreachable); {
	case o.Up == nil:
		return
	case o.agentDown():
		if f != nil && !onServer {
			o.bad(watchAgent, "", stateFailing, stateAnswering, f, "agent", address, "err", o.AgentErr)
		}
		return
	default:
		o.good(watchAgent, "", stateAnswering, fmt.Sprintf("The agent at %s answers again.", address), "agent", address)
	}
	for _, a := range o.Agents {
		other := a.Address.String()
		if f := o.problem(other, alertUnreachable); f != nil {
			o.bad(watchAgent, other, stateFailing, stateAnswering, f, "agent", other)
		} else if a.Err == nil {
			o.good(watchAgent, other, stateAnswering, fmt.Sprintf("The agent at %s answers again.", other), "agent", other)
		}
	}
}

// observeExporter looks at what keeps this program from seeing.
func (o *observing) observeExporter() {
	if f := o.problem("", alertImpaired); f != nil {
		o.bad(watchExporter, "self", stateImpaired, stateUnimpaired, f)
		return
	}
	o.good(watchExporter, "self", stateUnimpaired, "The exporter's own problem is over.")
	turnedAway := slices.ContainsFunc(o.ports, func(p verdict.Port) bool { return p.State == verdict.PortTurnedAway })
	if f := o.problem("", "ConsulExporterBlind"); f != nil {
		o.bad(watchExporter, "sight", stateBlind, stateSeeing, f)
	} else if o.Quorum.State == verdict.QuorumHeld && o.Quorum.Unknown == 0 && !turnedAway {
		o.good(watchExporter, "sight", stateSeeing, "The exporter sees all servers again.")
	}
}
