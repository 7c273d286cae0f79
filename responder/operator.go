// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
)

// operator writes to Consul: the two things that an action can. Nothing else in this program does.
type operator struct {
	consul *cluster.Cluster
	// clients are those of the agents, by address.
	clients map[consul.Address]*api.Operator
}

// newOperator returns one that reaches the agents as the snapshots of the cluster do.
func newOperator(c *cluster.Cluster) (*operator, error) {
	o := &operator{c, make(map[consul.Address]*api.Operator)}
	for _, address := range c.Agents() {
		opts := c.Options().Client
		opts.Address, opts.Namespace, opts.Partition = address, "", "" // Raft knows neither of the last two.
		client, err := consul.NewAPIClient(opts)
		if err != nil {
			return nil, err
		}
		o.clients[address] = client.Operator()
	}
	return o, nil
}

// client is that of the agent that the snapshots use.
func (o *operator) client() *api.Operator { return o.clients[o.consul.AgentInUse()] }

// A request makes Consul do something.
type request struct {
	// text is what it says, for the history.
	text string
	send func(context.Context) error
}

// transfer makes the leader hand over. An empty id lets it choose to whom.
func (o *operator) transfer(id string) request {
	text := "POST /v1/operator/raft/transfer-leader"
	if id != "" {
		text += "?id=" + id
	}
	return request{text, func(ctx context.Context) error {
		_, err := o.client().RaftLeaderTransfer(id, new(api.QueryOptions).WithContext(ctx))
		if status, ok := errors.AsType[api.StatusError](err); ok && status.Code == http.StatusNotFound {
			return fmt.Errorf("this Consul cannot transfer the leadership, which takes 1.16 or later: %w", err)
		}
		return err
	}}
}

func (o *operator) removePeer(id string) request {
	return request{"DELETE /v1/operator/raft/peer?id=" + id, func(ctx context.Context) error {
		return o.client().RaftRemovePeerByID(id, new(api.WriteOptions).WithContext(ctx))
	}}
}

// untilSeen sends the request, and looks at the cluster until there is something to say about what came of it. The
// error says that missing never came.
func (o *operator) untilSeen(
	r request, missing string, seen func(*view) string,
) func(context.Context, func(*Process)) (string, error) {
	return func(ctx context.Context, _ func(*Process)) (string, error) {
		if err := r.send(ctx); err != nil {
			return "", err
		}
		for {
			if text := seen(look(ctx, o.consul, false)); text != "" {
				return text, nil
			}
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
				return "", fmt.Errorf("it is done as Consul says, and %s: %w", missing, ctx.Err())
			}
		}
	}
}
