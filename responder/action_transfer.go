// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// transferLeadership makes the leader hand over to another voter: to a named one, or to the one that Raft finds best.
// It is judged as if the leader were lost.
type transferLeadership struct {
	guards
	TransferConfig
	*operator
}

func (*transferLeadership) name() string           { return actionTransfer }
func (*transferLeadership) guarded() bool          { return true }
func (*transferLeadership) timeout() time.Duration { return operatorTimeout }

// applies wants a leader that answers, and if the alert is about a server, that server.
func (t *transferLeadership) applies(a *Alert, v *view) string {
	leader, err := v.leader()
	switch {
	case err != nil:
		return fmt.Sprintf("There is no leader that could hand over: %v.", err)
	case a.server() != "" && a.server() != leader.Name:
		return fmt.Sprintf("The alert is about %s, and %s leads.", a.server(), leader.Name)
	case t.To == leader.Name:
		return fmt.Sprintf("%s is to lead, and does.", t.To)
	default:
		return ""
	}
}

// judge leaves out autopilot and reads: it calls followers unhealthy that hear of the leader late, and reads time out,
// which is what a slow leader is like. How far their logs are counts as ever.
func (t *transferLeadership) judge(_ *Alert, v *view) (plan, decision) {
	byRaft := *v
	byRaft.stop.Autopilot, byRaft.stop.Consistent = new(cluster.AutopilotState), &cluster.ConsistentRead{OK: true}
	for _, p := range v.stop.Topology.Peers {
		byRaft.stop.Autopilot.Servers = append(byRaft.stop.Autopilot.Servers,
			cluster.AutopilotServer{ID: p.ID, Healthy: true})
	}
	v = &byRaft
	leader, err := v.leader()
	if err != nil {
		return plan{}, refused("There is no telling who leads: %v.", err)
	}
	id, target := "", "the voter that Raft finds best"
	if t.To != "" {
		peer, err := t.target(v)
		if err != nil {
			return plan{}, refused("%s cannot lead: %v.", t.To, err)
		}
		id, target = peer.ID, t.To
	}
	request := t.transfer(id)
	return plan{
		what: fmt.Sprintf("Transfer the leadership from %s to %s: %s", leader.Name, target, request.text),
		run: t.untilSeen(request, "no other server than "+leader.Name+" is seen to lead", func(v *view) string {
			if next, err := v.leader(); err == nil && next.Name != leader.Name {
				return next.Name + " leads."
			}
			return ""
		}),
	}, t.canLose(leader.Name, v)
}

// target returns the peer that is to lead. It must be one that can.
func (t *transferLeadership) target(v *view) (cluster.RaftPeer, error) {
	peer, err := v.peer(t.To)
	if err != nil {
		return peer, err
	}
	if !peer.Voter {
		return peer, fmt.Errorf("%s has no vote", t.To)
	}
	answer, doubt, err := verdict.JudgeReturn(t.To, v.stop)
	if err == nil && answer != verdict.AnswerYes {
		err = fmt.Errorf("it cannot be counted on: %s", doubt)
	}
	return peer, err
}
