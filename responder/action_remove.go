// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"fmt"
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

func (r *removeDeadPeer) judge(a *Alert, v *view) (plan, decision) {
	name := a.server()
	d := r.canRemove(name, v)
	if !d.allowed {
		return plan{}, d
	}
	deny := func(format string, args ...any) (plan, decision) {
		return plan{}, decision{reasons: append(d.reasons, fmt.Sprintf(format, args...)), quorum: d.quorum}
	}
	if v.deathUnknown != nil {
		return deny("There is no telling whether it is dead: %v.", v.deathUnknown)
	}
	if doubt := r.doubt(name, v.death); doubt != "" {
		return deny("It does not count as dead: %s.", doubt)
	}
	server, err := v.server(name)
	if err != nil {
		return deny("There is no telling: %v.", err)
	}
	now := time.Now()
	dead := now.Sub(r.observe(v.death, now)[server.ID])
	if dead < r.DeadFor {
		return deny("It has been dead for %s as far as was watched, and is removed after %s.",
			dead.Round(time.Second), r.DeadFor)
	}
	peer, err := v.peer(server)
	if err != nil {
		return deny("There is nothing to remove: %v.", err)
	}
	d.reasons = append(d.reasons, fmt.Sprintf("It has been dead for %s: nothing listens on its port 8300, "+
		"and no server sees it alive.", dead.Round(time.Second)))
	request := r.removePeer(peer)
	return plan{
		what: fmt.Sprintf("Remove %s (%s) from the Raft configuration: %s", name, peer.Address, request.text),
		run: r.untilSeen(request, name+" is not seen to be gone", func(v *view) string {
			_, err := v.peer(cluster.Server{Name: name, ID: peer.ID, RPCAddress: peer.Address})
			if v.incomplete != nil || err == nil {
				return ""
			}
			return name + " is not in the Raft configuration any more."
		}),
	}, d
}

func (r *removeDeadPeer) doubt(server string, in inputs.Death) string {
	in.SilentHostIsDead = r.RemoveConfig.SilentHostIsDead
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
		if v := look(ctx, r.consul, true); v.incomplete == nil && v.deathUnknown == nil {
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
