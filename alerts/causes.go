// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"fmt"
	"slices"
	"strings"
)

// Cause says that alerts follow from others: while one of the sources fires, Alertmanager holds back those of the
// targets that have the same values of some labels, and the status page and the command check leave out the problems
// of these names.
type Cause struct {
	// Why is a comment for it and for those after it that have none.
	Why            string
	Source, Target Selector
	// Same are labels, in addition to those that tell clusters apart, whose values must be the same in both alerts, or
	// missing in both. The name of the alert is alertname.
	Same []string
}

// Selector selects alerts.
type Selector struct {
	// Names are the alerts' names; nil means all of the pack.
	Names []string
	// Labels are labels that they must have.
	Labels []LabelValues
}

// LabelValues are the values that a label may have: any but the empty one if there are none.
type LabelValues struct {
	Label  string
	Values []string
}

// Labels of alerts.
const (
	labelAlert    = "alertname"
	labelSeverity = "severity"
)

// Alert is an alert that fires. Labels has its severity, and everything else that the pack gives it but the labels
// that tell clusters apart; a label that it does not have counts as empty.
type Alert struct {
	Name   string
	Labels map[string]string
}

func (a Alert) label(name string) string {
	if name == labelAlert {
		return a.Name
	}
	return a.Labels[name]
}

func (s Selector) selects(a Alert) bool {
	if s.Names != nil && !slices.Contains(s.Names, a.Name) {
		return false
	}
	return !slices.ContainsFunc(s.Labels, func(l LabelValues) bool {
		value := a.label(l.Label)
		return value == "" || (l.Values != nil && !slices.Contains(l.Values, value))
	})
}

// HeldBack returns a function that reports whether an alert follows from one of those that fire.
func HeldBack(firing []Alert) func(target Alert) bool {
	sources := make([]map[string]bool, len(causes)) // Those of each cause, by what they and a target share.
	for i, c := range causes {
		sources[i] = make(map[string]bool)
		for _, source := range firing {
			if c.Source.selects(source) {
				sources[i][c.shared(source)] = true
			}
		}
	}
	return func(target Alert) bool {
		for i, c := range causes {
			if len(sources[i]) > 0 && c.Target.selects(target) && sources[i][c.shared(target)] {
				return true
			}
		}
		return false
	}
}

// shared are the values of the labels that source and target share.
func (c Cause) shared(a Alert) string {
	var values strings.Builder
	for _, label := range c.Same {
		fmt.Fprintf(&values, "%q", a.label(label))
	}
	return values.String()
}

// Causes returns all causes, in the order in which they are documented.
func Causes() []Cause { return slices.Clone(causes) }

// named selects alerts by their names, with spaces between them.
func named(names string) Selector { return Selector{Names: strings.Fields(names)} }

// with selects those of them that have one of these values of a label; any but the empty one if there are none.
func (s Selector) with(label string, values ...string) Selector {
	return Selector{s.Names, append(slices.Clone(s.Labels), LabelValues{label, values})}
}

func (s Selector) severe(severities ...string) Selector { return s.with(labelSeverity, severities...) }

var (
	// thresholds tell the same alert about different things apart, whatever its severity.
	thresholds = []string{labelAlert, "server", "port", "protocol", "pool", "root"}
	// silences are servers of which nothing answers.
	silences = named("ConsulServerDown ConsulServerHung")
	// meshPortDown and httpPortDown are ports of the service mesh, and of all that an agent has for its clients.
	meshPortDown = named("ConsulPortDown").with("protocol", "grpc", "grpc_tls")
	httpPortDown = named("ConsulPortDown").with("protocol", "http", "https")
)

var causes = []Cause{
	{
		Why:    "The same alert at two thresholds: the worse one is enough.",
		Source: Selector{}.severe("critical"), Target: Selector{}.severe("warning", "info"), Same: thresholds,
	},
	{Source: Selector{}.severe("warning"), Target: Selector{}.severe("info"), Same: thresholds},
	{
		Why:    "Nothing watches the cluster: that its exporters are down is why.",
		Source: named("ConsulExporterMissing"), Target: named("ConsulExporterDown"),
	},
	{
		Why: "Scrapes wait for an agent that does not answer: for all that are asked, and for that of one exporter. " +
			"Where these are servers, their HTTP ports are down.",
		Source: named("ConsulAgentUnreachable").severe("critical"),
		Target: named("ConsulScrapeSlow"),
	},
	{Source: named("ConsulAgentUnreachable").severe("critical"), Target: httpPortDown},
	{
		Source: named("ConsulAgentUnreachable").severe("warning"), Target: named("ConsulScrapeSlow"),
		Same: []string{"instance"},
	},
	{
		Why:    "A catalog that is too large counts as a failure of the collector that reads it.",
		Source: named("ConsulCatalogTooLarge"), Target: named("ConsulCollectorFails").with("collector", "catalog"),
	},
	{
		Why:    "Many services that vanished at once are one fault, and one that flaps is down at times.",
		Source: named("ConsulCatalogShrinks").with("what", "services"), Target: named("ConsulServiceVanished"),
	},
	{
		Source: named("ConsulServiceDown").with("service_name"), Target: named("ConsulServiceInstancesCritical"),
		Same: []string{"service_name"},
	},
	{
		Why: "What is known for certain says more than that nothing is known. Without a quorum there is no leader, and " +
			"without a leader nothing is written and all this follows.",
		Source: named("ConsulQuorumLost"), Target: named("ConsulNoLeader"),
	},
	{
		Source: named("ConsulQuorumLost ConsulNoLeader"), Target: named("ConsulQuorumUnknown ConsulWritesStalled"),
	},
	{
		Source: named("ConsulQuorumLost ConsulNoLeader"),
		Target: named("ConsulServerWithoutLeader ConsulServerCandidate ConsulConsistentReadsFail ConsulAutopilotUnhealthy " +
			"ConsulRaftLastContact ConsulLeaderChangesOften ConsulCollectorFails ConsulScrapeSlow ConsulDNSErrors " +
			"ConsulDNSFewerServers ConsulACLReplicationFails ConsulPeeringDown ConsulRPCErrors ConsulRateLimited"),
	},
	{
		Why: "What nobody knows of the quorum, nobody knows of what takes one. Followers do not hear from a " +
			"leader that hangs.",
		Source: named("ConsulQuorumUnknown"),
		Target: named("ConsulAgentUnreachable ConsulExporterBlind ConsulConsistentReadsFail ConsulAutopilotUnhealthy " +
			"ConsulRaftLastContact ConsulCollectorFails ConsulScrapeSlow ConsulDNSErrors ConsulDNSFewerServers " +
			"ConsulACLReplicationFails ConsulPeeringDown ConsulRPCErrors"),
	},
	{
		Why:    "The leader waits for disks: its own figures and those of the servers that follow it show that.",
		Source: named("ConsulWritesStalled"),
		Target: named("ConsulRaftCommitSlow ConsulRaftSaturated ConsulRaftLogLag ConsulRaftApplyLag " +
			"ConsulAutopilotUnhealthy ConsulACLReplicationFails"),
	},
	{
		Why:    "Without its certificate an exporter is turned away, and one that sees nothing waits for each answer.",
		Source: named("ConsulExporterCertificateExpires").with("state", "expired"), Target: named("ConsulExporterBlind"),
		Same: []string{"instance"},
	},
	{
		Source: named("ConsulExporterCutOff ConsulExporterBlind"), Target: named("ConsulScrapeSlow"),
		Same: []string{"instance"},
	},
	{
		Why: "Two clusters under the same labels differ in what each of them has in common, and each has a service mesh of " +
			"its own, whose certificates the other does not trust.",
		Source: named("ConsulClustersMixed"),
		Target: named("ConsulVersionSkew ConsulGossipEncryptionDiffers ConsulExporterBlind"),
	},
	{Source: named("ConsulClustersMixed"), Target: meshPortDown},
	{
		Why: "Two leaders name each other's peers and leaders differently, and each has a service mesh of its own, whose " +
			"certificates the other does not trust.",
		Source: named("ConsulSplitBrain"),
		Target: named("ConsulQuorumUnknown ConsulServersDisagree ConsulEvenVoters ConsulStaleRaftPeer " +
			"ConsulAutopilotUnhealthy ConsulRaftLogLag"),
	},
	{Source: named("ConsulSplitBrain"), Target: meshPortDown},
	{
		Why:    "A server that is down or hangs does so on each of its ports, and the others miss it.",
		Source: silences,
		Target: named("ConsulPortDown ConsulGossipUDPBlocked ConsulPortErrors ConsulPortSlow ConsulPortViewsDiffer " +
			"ConsulDNSErrors ConsulSerfMemberFailed ConsulSerfWANMemberFailed ConsulServerWithoutLeader " +
			"ConsulServerCandidate ConsulRaftLogLag ConsulRaftLastContact"),
		Same: []string{"server"},
	},
	{Source: silences, Target: named("ConsulAutopilotUnhealthy ConsulGossipHealthPoor ConsulScrapeSlow")},
	{
		Why:    "Members that do not answer gossip are missed by the agents that probe them.",
		Source: named("ConsulSerfMemberFailed ConsulManyMembersFailed"), Target: named("ConsulGossipHealthPoor"),
	},
	{
		Why:    "Three voters of which one was removed are two.",
		Source: named("ConsulVotersMissing"), Target: named("ConsulEvenVoters"),
	},
	{
		Why:    "A server that is cut off from the others hears of no leader and falls behind.",
		Source: named("ConsulServerWithoutLeader"),
		Target: named("ConsulServerCandidate ConsulRaftLogLag ConsulRaftLastContact ConsulSerfMemberFailed " +
			"ConsulSerfWANMemberFailed"),
		Same: []string{"server"},
	},
	{Source: named("ConsulServerWithoutLeader"), Target: named("ConsulAutopilotUnhealthy ConsulScrapeSlow")},
	{
		Why:    "A port that is down, or out of reach of one exporter, or whose certificate has expired: why is told once.",
		Source: named("ConsulPortDown ConsulPortViewsDiffer"),
		Target: named("ConsulPortErrors ConsulPortSlow"), Same: []string{"server", "port"},
	},
	{
		Source: named("ConsulCertificateExpires").with("state", "expired"),
		Target: named("ConsulPortDown"), Same: []string{"server", "port"},
	},
	{
		Why:    "DNS that answers with an error names no server.",
		Source: named("ConsulDNSErrors"), Target: named("ConsulDNSFewerServers"), Same: []string{"server", "port"},
	},
}

// causes are those of the pack, with the severities that were chosen: what became less severe holds back nothing that
// is more severe. What holds alerts back at one severity only has rules of its own for that, and does not where another
// one was chosen.
func (p *pack) causes() []Cause {
	chosen := func(alert string) bool { return p.v.severities[alert] != "" }
	var kept []Cause
	for _, c := range causes {
		changed := slices.ContainsFunc(c.Source.Names, chosen)
		bySeverity := slices.ContainsFunc(c.Source.Labels, func(l LabelValues) bool { return l.Label == labelSeverity })
		switch {
		case !changed && !slices.ContainsFunc(c.Target.Names, chosen):
			kept = append(kept, c)
		case !changed || !bySeverity:
			kept = append(kept, p.split(c)...)
		}
	}
	return kept
}

// split makes of a cause one for the sources of each severity, without targets that are more severe than these.
func (p *pack) split(c Cause) (parts []Cause) {
	for least := range severities {
		part := c
		part.Source.Names = slices.DeleteFunc(slices.Clone(c.Source.Names), func(source string) bool {
			return slices.Max(p.ranks(source)) != least
		})
		part.Target.Names = slices.DeleteFunc(slices.Clone(c.Target.Names), func(target string) bool {
			return slices.Min(p.ranks(target)) < least
		})
		if len(part.Source.Names) > 0 && len(part.Target.Names) > 0 {
			parts = append(parts, part)
		}
	}
	return parts
}

// ranks are those of the severities of an alert's rules, with what was chosen.
func (p *pack) ranks(alert string) (ranks []int) {
	if chosen := p.v.severities[alert]; chosen != "" {
		return []int{rank(chosen)}
	}
	for _, severity := range p.severities[alert] {
		ranks = append(ranks, rank(severity))
	}
	return ranks
}

// inhibitions renders causes as Alertmanager's rules, groupBy being the labels that tell clusters apart.
func inhibitions(groupBy string, causes []Cause) string {
	var b strings.Builder
	for i, c := range causes {
		if c.Why != "" {
			if i > 0 {
				b.WriteString("\n")
			}
			comment(&b, c.Why)
		}
		fmt.Fprintf(&b, "  - source_matchers: [%s]\n    target_matchers: [%s]\n", c.Source.matchers(), c.Target.matchers())
		fmt.Fprintf(&b, "    equal: [%s]\n", strings.Join(equal(groupBy, c.Same), ", "))
	}
	return b.String()
}

// equal has the name of the alert first, as one would write it.
func equal(groupBy string, same []string) []string {
	if len(same) > 0 && same[0] == labelAlert {
		return slices.Concat(same[:1], []string{groupBy}, same[1:])
	}
	return slices.Concat([]string{groupBy}, same)
}

// comment writes a comment in lines that are not too long.
func comment(b *strings.Builder, text string) {
	line := "  #"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > 120 {
			fmt.Fprintln(b, line)
			line = "  #"
		}
		line += " " + word
	}
	fmt.Fprintln(b, line)
}

func (s Selector) matchers() string {
	all := []string{labelAlert + `=~"Consul.*"`}
	if s.Names != nil {
		all = []string{matcher(labelAlert, s.Names)}
	}
	for _, l := range s.Labels {
		all = append(all, matcher(l.Label, l.Values))
	}
	return strings.Join(all, ", ")
}

// matcher is one of Alertmanager's, for one of these values of a label; any but the empty one if there are none.
func matcher(label string, values []string) string {
	switch len(values) {
	case 0:
		return label + `=~".+"`
	case 1:
		return label + `="` + values[0] + `"`
	default:
		return label + `=~"` + strings.Join(values, "|") + `"`
	}
}
