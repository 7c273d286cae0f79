// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/zervigo/consul_cluster_exporter/consul"
)

// Reader reads the catalog through one agent, during one scrape.
type Reader struct {
	// Options bound what is kept of answers, and how many requests there are at one time.
	Options *consul.Options
	// Read asks the agent; the endpoint has Decode. The error is ErrRefused where it makes no sense to ask.
	Read func(context.Context, consul.Endpoint) error
	// IsWhole reports whether the token's rights left nothing out of an endpoint's answers in this scrape.
	IsWhole func(context.Context, consul.Endpoint) bool
}

// stream reads an endpoint and decodes the answer while it arrives, within the budget.
func (r *Reader) stream(
	ctx context.Context, ep consul.Endpoint, memory *consul.Budget, decode func(*consul.JSONReader) error,
) error {
	ep.Decode = consul.Streamed(memory, decode)
	return r.Read(ctx, ep)
}
