// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/probe"
)

// newSuccess reads probe_success, which every exporter that takes its target from the request has by convention. It is
// the same as consul_up, and there whichever collectors run.
func newSuccess(define *definitions) reader {
	return ofUp(define.gauge("probe_success", "1 if the target's HTTP API responded, otherwise 0. Absent if the "+
		"exporter could not send the request."))
}

// ofUp reads whether the HTTP API of the configured agent answers.
func ofUp(family *desc) reader {
	return read((*cluster.Snapshot).Up, func(answers bool, err error, out *families) error {
		if !probe.IsOwnFault(err) { // Any other error is no answer.
			out.flag(family, answers)
		}
		return err
	})
}
