// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Answers that grow with the cluster are decoded while they arrive, and no more is kept of them than a budget allows.

// decoder decodes an answer while it arrives.
type decoder = func(*consul.JSONReader) error

// stream reads an endpoint of the configured agent and decodes the answer while it arrives, within the budget.
func (s *Snapshot) stream(ctx context.Context, ep consul.Endpoint, memory *consul.Budget, decode decoder) error {
	return s.streamAt(ctx, s.Address(), ep, memory, decode)
}

// streamAt does so with the agent at address.
func (s *Snapshot) streamAt(
	ctx context.Context, address consul.Address, ep consul.Endpoint, memory *consul.Budget, decode decoder,
) error {
	ep.Decode = consul.Streamed(memory, decode)
	return s.read(ctx, address, ep, nil)
}

// newBudget returns that of one answer.
func (s *Snapshot) newBudget() *consul.Budget { return s.cluster.opts.Client.NewBudget() }

// readList reads an endpoint of the agent at address that answers with a list, and converts its elements.
func readList[In, Out any](
	ctx context.Context, s *Snapshot, address consul.Address, ep consul.Endpoint, convert func(*In) Out,
) ([]Out, error) {
	out := []Out{}
	if err := s.streamAt(ctx, address, ep, s.newBudget(), decodeList(&out, convert)); err != nil {
		return nil, err
	}
	return out, nil
}

// decodeList decodes a list into out and converts its elements.
func decodeList[In, Out any](out *[]Out, convert func(*In) Out) decoder {
	return func(d *consul.JSONReader) error {
		return consul.EachElement(d, func(in *In) (err error) {
			*out, err = consul.Keep(d.Memory, *out, convert(in))
			return err
		})
	}
}

// countList reads how many elements the list has that an endpoint answers with.
func (s *Snapshot) countList(ctx context.Context, ep consul.Endpoint) (n int, err error) {
	err = s.stream(ctx, ep, s.newBudget(), func(d *consul.JSONReader) error {
		return d.List(func() error {
			n++
			return d.SkipValue()
		})
	})
	return n, err
}
