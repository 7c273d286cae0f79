// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"strconv"
)

// SerfPool is what the configured agent says about its part in a Serf pool. What is nil or missing is unknown.
type SerfPool struct {
	Name string // "lan" or "wan".
	// HealthScore is memberlist's awareness: 0 is healthy; the higher, the more the agent doubts its view of the others.
	HealthScore *uint64
	// QueueDepths are how many messages wait to be broadcast, by queue: event, intent and query.
	QueueDepths map[string]uint64
	Encrypted   *bool // Whether gossip is.
}

// serfStats are Serf's figures, which Consul gives as strings (hashicorp/serf: Serf.Stats).
type serfStats struct {
	Encrypted   string `json:"encrypted"`
	HealthScore string `json:"health_score"`
	EventQueue  string `json:"event_queue"`
	IntentQueue string `json:"intent_queue"`
	QueryQueue  string `json:"query_queue"`
}

// SerfPools are the agent's pools: lan, and on a server wan. The error is about figures that cannot be read.
func (a Agent) SerfPools() ([]SerfPool, error) {
	var pools []SerfPool
	var errs []error
	for _, p := range []struct {
		name  string
		stats serfStats
	}{{"lan", a.serfLAN}, {"wan", a.serfWAN}} {
		if p.stats == (serfStats{}) {
			continue
		}
		pool, err := newSerfPool(p.name, p.stats)
		pools, errs = append(pools, pool), append(errs, err)
	}
	return pools, errors.Join(errs...)
}

func newSerfPool(name string, stats serfStats) (SerfPool, error) {
	pool := SerfPool{Name: name, QueueDepths: make(map[string]uint64)}
	var errs []error
	figure := func(key, text string, set func(uint64)) {
		if text == "" {
			return
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: serf_%s figure %s: %w", endpointSelf.Path, name, key, err))
			return
		}
		set(n)
	}
	figure("health_score", stats.HealthScore, func(n uint64) { pool.HealthScore = &n })
	queues := map[string]string{"event": stats.EventQueue, "intent": stats.IntentQueue, "query": stats.QueryQueue}
	for queue, text := range queues {
		figure(queue+"_queue", text, func(n uint64) { pool.QueueDepths[queue] = n })
	}
	switch stats.Encrypted {
	case "true", "false":
		pool.Encrypted = new(stats.Encrypted == "true")
	}
	return pool, errors.Join(errs...)
}
