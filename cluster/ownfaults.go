// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"slices"
)

// OwnFaults counts what this process could not ask, for reasons of its own: it lacked descriptors, buffers, memory,
// permission or a local address. That says nothing about Consul.
type OwnFaults struct {
	// Probes and Requests could not be made since the start.
	Probes, Requests uint64
	// Files are why files could not be read again, so that what they held before is in use now.
	Files []string
}

// OwnFaults returns what there has been.
func (c *Cluster) OwnFaults() OwnFaults {
	return OwnFaults{Probes: c.probeFaults.Load(), Requests: c.client.OwnFaults(), Files: c.failingFiles()}
}

// failingFiles says what is wrong with files, each thing once: one file may be used for several purposes.
func (c *Cluster) failingFiles() []string {
	var wrong []string
	for _, file := range c.opts.Watched {
		if err := file.Failing(); err != nil && !slices.Contains(wrong, err.Error()) {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}
