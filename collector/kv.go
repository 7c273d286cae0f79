// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import "github.com/zervigo/consul_cluster_exporter/cluster"

// newKVCollector exports keys whose values are numbers, as consul_exporter does: what a Go program reads as a
// floating-point number.
//
// Requests: with --kv.prefix one for the keys that begin with it, whose answer has all their values; without none.
// ACL: key:read. One series per number.
func newKVCollector(define *definitions) collector {
	filter := define.settings.KVFilter // nil selects all.
	value := define.gauge("consul_catalog_kv", "The value of a key that is a number.", "key")
	return ofList((*cluster.Snapshot).KeyNumbers, func(n cluster.KeyNumber, out *families) {
		if filter == nil || filter.MatchString(n.Key) {
			out.add(value, n.Value, n.Key)
		}
	})
}
