// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
)

// operator writes to Consul: the two things that an action can. Nothing else in this program does.
type operator struct{ client *api.Client }

// newOperator returns one that reaches the agent as the snapshots do.
func newOperator(opts consul.Options) (*operator, error) {
	opts.Namespace, opts.Partition = "", "" // Raft knows neither.
	client, err := consul.NewAPIClient(opts)
	if err != nil {
		return nil, err
	}
	return &operator{client}, nil
}

// transferText is what transfer asks of Consul. An empty id lets the leader choose.
func transferText(id string) string {
	text := "POST /v1/operator/raft/transfer-leader"
	if id != "" {
		text += "?id=" + id
	}
	return text
}

// transfer makes the leader hand over.
func (o *operator) transfer(ctx context.Context, id string) error {
	_, err := o.client.Operator().RaftLeaderTransfer(id, new(api.QueryOptions).WithContext(ctx))
	if status, ok := errors.AsType[api.StatusError](err); ok && status.Code == http.StatusNotFound {
		return fmt.Errorf("this Consul cannot transfer the leadership, which takes 1.16 or later: %w", err)
	}
	return err
}

// removePeerText is what removePeer asks of Consul.
func removePeerText(p cluster.RaftPeer) string {
	if p.ID == "" {
		return "DELETE /v1/operator/raft/peer?address=" + p.Address
	}
	return "DELETE /v1/operator/raft/peer?id=" + p.ID
}

// removePeer takes a server out of the Raft configuration.
func (o *operator) removePeer(ctx context.Context, p cluster.RaftPeer) error {
	options := new(api.WriteOptions).WithContext(ctx)
	if p.ID == "" {
		return o.client.Operator().RaftRemovePeerByAddress(p.Address, options)
	}
	return o.client.Operator().RaftRemovePeerByID(p.ID, options)
}
