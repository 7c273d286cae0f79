// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

// maxWatchGap is how far apart two looks at a server may be for it to count as dead in between.
const maxWatchGap = 2 * time.Minute

// removeDeadPeer takes a server out of the Raft configuration that has been dead for long. Each look of the watch
// tells whether it is.
type removeDeadPeer struct {
	guards
	RemoveConfig
	*operator
	rule string
	// reach are the variables with which the hook reaches Consul.
	reach []string
	// look takes a fresh snapshot, except in tests.
	look func(context.Context) *view

	mu sync.Mutex
	// deadSince has, by node ID, the servers that were dead at each look since then. Guarded by mu, and replaced, not
	// changed.
	deadSince map[string]time.Time
	// looked is when the latest look was. Guarded by mu.
	looked time.Time
}

func (*removeDeadPeer) name() string           { return actionRemove }
func (*removeDeadPeer) guarded() bool          { return true }
func (*removeDeadPeer) timeout() time.Duration { return operatorTimeout }

func (*removeDeadPeer) applies(a *Alert, _ *view) string { return needsServer(a, "which one is meant") }

// judge has the hook asked last, and looks again afterwards: meanwhile the server may have come back, another one may
// have died, or the peer may be another one.
func (r *removeDeadPeer) judge(a *Alert, v *view) (plan, decision) {
	p, peer, d := r.judgeNow(a.server(), v)
	if !d.allowed || r.Confirm == nil {
		return p, d
	}
	if err := r.confirmed(a, &peer); err != nil {
		return plan{}, d.deny("The hook does not confirm that it is dead: %v.", err)
	}
	confirmed := peer
	p, peer, d = r.judgeNow(a.server(), r.look(context.Background()))
	switch {
	case !d.allowed:
		return p, d
	case peer.ID != confirmed.ID:
		return plan{}, d.deny("The hook was asked about the peer %s, and it is %s now.", confirmed.ID, peer.ID)
	}
	d.reasons = append(d.reasons, "The hook confirms that it is dead.")
	return p, d
}

// judgeNow decides without the hook.
func (r *removeDeadPeer) judgeNow(name string, v *view) (p plan, peer cluster.RaftPeer, d decision) {
	if d = r.canRemove(name, v); !d.allowed {
		return p, peer, d
	}
	if v.deathUnknown != nil {
		return p, peer, d.deny("There is no telling whether it is dead: %v.", v.deathUnknown)
	}
	if doubt := r.doubt(name, v.death); doubt != "" {
		return p, peer, d.deny("It does not count as dead: %s.", doubt)
	}
	peer, err := v.peer(name)
	if err != nil {
		return p, peer, d.deny("There is nothing to remove: %v.", err)
	}
	now := time.Now()
	dead := now.Sub(r.observe(v.death, now)[peer.ID])
	if dead < r.DeadFor {
		return p, peer, d.deny("It has been dead for %s as far as was watched, and is removed after %s.",
			dead.Round(time.Second), r.DeadFor)
	}
	d.reasons = append(d.reasons, fmt.Sprintf("It has been dead for %s: it does not answer on port 8300 nor the leader's "+
		"heartbeats, and the leader and a majority of the voters see it failed.", dead.Round(time.Second)))
	return r.plan(name, &peer), peer, d
}

func (r *removeDeadPeer) plan(name string, peer *cluster.RaftPeer) plan {
	request := r.removePeer(peer.ID)
	return plan{
		what: fmt.Sprintf("Remove %s (%s) from the Raft configuration: %s", name, peer.Address, request.text),
		run: r.untilSeen(request, name+" is not seen to be gone", func(v *view) string {
			in := v.stop.Topology
			if v.incomplete != nil || !in.RaftKnown || slices.ContainsFunc(in.Peers, func(p cluster.RaftPeer) bool {
				return p.ID == peer.ID
			}) {
				return ""
			}
			return name + " is not in the Raft configuration any more."
		}),
	}
}

// confirmed asks the hook whether the peer is dead, which knows it from elsewhere: from a hypervisor, or a cloud. It
// must change nothing.
func (r *removeDeadPeer) confirmed(a *Alert, peer *cluster.RaftPeer) error {
	ctx, cancel := context.WithTimeout(context.Background(), r.Confirm.Timeout)
	defer cancel()
	asked := *a
	asked.Annotations = maps.Clone(a.Annotations)
	if asked.Annotations == nil {
		asked.Annotations = make(map[string]string)
	}
	asked.Annotations["node_id"], asked.Annotations["address"] = peer.ID, peer.Address
	_, err := (&execCommand{ExecConfig: *r.Confirm, rule: r.rule, reach: r.reach}).run(ctx, &asked, func(*Process) {})
	return err
}

func (r *removeDeadPeer) doubt(server string, in inputs.Death) string {
	in.RefusedHostIsDead = r.RefusedHostIsDead || r.Confirm != nil
	in.SilentHostIsDead = r.SilentHostIsDead || r.Confirm != nil
	return verdict.JudgeDead(server, in)
}

// observe takes a look and returns since when the servers that are dead now have been: since the look at which they
// first were, if none has been missed since, by node ID: no server is dead without one.
func (r *removeDeadPeer) observe(in inputs.Death, at time.Time) (deadSince map[string]time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	deadSince = make(map[string]time.Time)
	for _, report := range in.Reports {
		id := report.Server.ID
		if r.doubt(report.Server.Name, in) != "" {
			continue
		}
		deadSince[id] = at
		if since, ok := r.deadSince[id]; ok && at.Sub(r.looked) <= maxWatchGap {
			deadSince[id] = since
		}
	}
	r.looked, r.deadSince = at, deadSince
	return deadSince
}

// blind forgets everything: a look failed.
func (r *removeDeadPeer) blind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deadSince = nil
}

// watch looks again and again until ctx is done.
func (r *removeDeadPeer) watch(ctx context.Context) {
	interval := min(max(r.DeadFor/10, time.Second), 15*time.Second)
	for {
		if v := r.look(ctx); v.incomplete == nil && v.deathUnknown == nil {
			r.observe(v.death, time.Now())
		} else if ctx.Err() == nil {
			r.blind()
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return
		}
	}
}
