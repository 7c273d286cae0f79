// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"slices"
	"strings"
)

// Contradictions lists each verdict of a scrape that contradicts a proof from the same scrape. What proves something is
// a linearizable read that succeeded, and an answer on a voter's own port 8300.
func (s Samples) Contradictions() []string {
	var found []string
	contradict := func(holds bool, format string, args ...any) {
		if holds {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	state := func(verdict, state string) bool {
		return s[fmt.Sprintf("consul_cluster_%s_state{state=%q}", verdict, state)] == 1
	}
	if s["consul_cluster_consistent_read_success"] == 1 {
		const read = "a linearizable read succeeded, "
		contradict(state("quorum", "lost"), read+"and the quorum is lost")
		contradict(s["consul_cluster_failure_margin"] < 0, read+"and the failure margin is %v",
			s["consul_cluster_failure_margin"])
		leaders, known := s["consul_cluster_leaders"]
		contradict(known && leaders == 0, read+"and there is no leader")
		contradict(s["consul_up"] == 0, read+"and consul_up is 0")
	}
	held := state("quorum", "held")
	contradict(held && s["consul_cluster_failure_margin"] < 0, "the quorum is held, and the failure margin is %v",
		s["consul_cluster_failure_margin"])
	contradict(state("quorum", "lost") && state("writes", "committing"), "the quorum is lost, and writes commit")
	for verdict, states := range verdictStates {
		if n := s.statesOf(verdict, states); n != 1 {
			found = append(found, fmt.Sprintf("%d states of consul_cluster_%s_state are 1; want one", n, verdict))
		}
	}
	voters, answering := s.voters()
	lost := int(s[`consul_cluster_voters_state{state="lost"}`])
	contradict(lost > voters-answering, "%d of %d voters answer on port 8300, and %d are lost", answering, voters, lost)
	slices.Sort(found)
	return found
}

// verdictStates are the enumerations of which exactly one state is 1.
var verdictStates = map[string][]string{
	"quorum": {"held", "lost", "unknown"},
	"writes": {"committing", "stalled", "unknown"},
}

// statesOf counts the states of a verdict that are 1.
func (s Samples) statesOf(verdict string, states []string) (n int) {
	for _, state := range states {
		if s[fmt.Sprintf("consul_cluster_%s_state{state=%q}", verdict, state)] == 1 {
			n++
		}
	}
	return n
}

// voters counts the servers with a vote, and those of them whose port 8300 answers.
func (s Samples) voters() (all, answering int) {
	for series := range s {
		if !strings.HasPrefix(series, "consul_server_info{") || !strings.Contains(series, `voter="true"`) {
			continue
		}
		all++
		name := labelOf(series, "server")
		if s[fmt.Sprintf(`consul_port_up{port="8300",protocol="rpc",server=%q,transport="tcp"}`, name)] == 1 {
			answering++
		}
	}
	return all, answering
}
