// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// transferLeadership makes the leader hand over to another voter: to a named one, or to the one that Raft finds best.
// It is judged as if the leader were lost meanwhile.
type transferLeadership struct {
	guards
	consul   *cluster.Cluster
	operator *operator
	// to is the name of the server that is to lead; empty lets Raft choose.
	to string
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
	case t.to == leader.Name:
		return fmt.Sprintf("%s is to lead, and does.", t.to)
	default:
		return ""
	}
}

// judge leaves autopilot out: it calls followers unhealthy that hear of the leader late, which is what a slow leader
// is like. How far their logs are counts as ever.
func (t *transferLeadership) judge(_ *Alert, v *view) (plan, ruling) {
	byRaft := *v
	byRaft.stop.Autopilot = nil
	v = &byRaft
	leader, err := v.leader()
	if err != nil {
		return refuse(fmt.Sprintf("There is no telling who leads: %v.", err))
	}
	id, target := "", "the voter that Raft finds best"
	if t.to != "" {
		peer, err := t.target(v)
		if err != nil {
			return refuse(fmt.Sprintf("%s cannot lead: %v.", t.to, err))
		}
		id, target = peer.ID, t.to
	}
	r := t.canLose(leader.Name, v)
	return plan{
		what: fmt.Sprintf("Transfer the leadership from %s to %s: %s", leader.Name, target, transferText(id)),
		run:  func(ctx context.Context) (string, error) { return t.run(ctx, leader.Name, id) },
	}, r
}

// target returns the peer that is to lead. It must be one that can.
func (t *transferLeadership) target(v *view) (cluster.RaftPeer, error) {
	server, err := v.server(t.to)
	if err != nil {
		return cluster.RaftPeer{}, err
	}
	peer, err := v.peer(server)
	if err != nil {
		return peer, err
	}
	if !peer.Voter {
		return peer, fmt.Errorf("%s has no vote", t.to)
	}
	if doubt := verdict.Doubt(t.to, &v.stop); doubt != "" {
		return peer, fmt.Errorf("it cannot be counted on: %s", doubt)
	}
	return peer, nil
}

// run waits until another server leads.
func (t *transferLeadership) run(ctx context.Context, from, id string) (string, error) {
	if err := t.operator.transfer(ctx, id); err != nil {
		return "", err
	}
	for {
		if leader, err := look(ctx, t.consul, false).leader(); err == nil && leader.Name != from {
			return leader.Name + " leads.", nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("it is done as Consul says, and no other server than %s is seen to lead: %w", from, ctx.Err())
		}
	}
}
