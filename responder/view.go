// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/verdict"
)

const lookTimeout = 10 * time.Second

// view is the cluster as one snapshot has it.
type view struct {
	// incomplete is what this snapshot could not collect; nil if nothing. What is remembered from earlier ones does not
	// count.
	incomplete error
	stop       inputs.Stop
	// death is what tells whether a server is dead, and deathUnknown why it does not.
	death        inputs.Death
	deathUnknown error
}

// look takes a fresh snapshot. Whether servers are dead is collected only on demand.
func look(ctx context.Context, consul *cluster.Cluster, death bool) *view {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	snap := consul.Snapshot(ctx)
	defer snap.Close()

	members := snap.Members()
	if death { // Started now, and waited for by inputs.ForDeath.
		snap.MembersSeen()
	}
	v := &view{deathUnknown: errors.New("nobody has looked")}
	var stopErr error
	v.stop, stopErr = inputs.ForStop(ctx, snap)
	_, membersErr := members.Get(ctx)
	v.incomplete = cmp.Or(membersErr, stopErr)
	if death {
		v.death, v.deathUnknown = inputs.ForDeath(ctx, snap)
	}
	return v
}

// leader returns the one server that leads by its own account and that of all others.
func (v *view) leader() (cluster.Server, error) {
	leadership := verdict.Judge(v.stop.Evidence()).Leadership
	if len(leadership.Leaders) != 1 {
		return cluster.Server{}, fmt.Errorf("there are %d servers that answer and lead", len(leadership.Leaders))
	}
	return v.server(leadership.Leaders[0])
}

func (v *view) server(name string) (cluster.Server, error) {
	for _, r := range v.stop.Reports {
		if r.Server.Name == name {
			return r.Server, nil
		}
	}
	return cluster.Server{}, fmt.Errorf("there is no such server: %q", name)
}

// peer returns the entry of the named server in the Raft configuration.
func (v *view) peer(name string) (cluster.RaftPeer, error) {
	server, err := v.server(name)
	if err != nil {
		return cluster.RaftPeer{}, err
	}
	return v.stop.Topology.PeerOf(server)
}
