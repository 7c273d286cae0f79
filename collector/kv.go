// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"context"
	"regexp"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// kvCollector exports keys whose values are numbers, as consul_exporter does: what a Go program reads as a
// floating-point number.
//
// Requests: with --kv.prefix one for the keys that begin with it, whose answer has all their values; without none.
// ACL: key:read. One series per number.
type kvCollector struct {
	filter *regexp.Regexp // nil selects all.
	value  *desc
}

func newKVCollector(define *definitions) collector {
	return &kvCollector{
		filter: define.settings.KVFilter,
		value:  define.gauge("consul_catalog_kv", "The value of a key that is a number.", "key"),
	}
}

func (c *kvCollector) collect(ctx context.Context, snap *cluster.Snapshot, out *families) error {
	numbers, err := snap.KeyNumbers().Get(ctx)
	for _, n := range numbers {
		if c.filter == nil || c.filter.MatchString(n.Key) {
			out.add(c.value, n.Value, n.Key)
		}
	}
	return err
}
