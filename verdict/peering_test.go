// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// A peering that was active is down until it is active again, whatever the word for its state is.
func TestJudgePeering(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	type past struct{ active, heard time.Time }
	never, active := past{}, past{now.Add(-time.Hour), now.Add(-20 * time.Second)}
	silent := past{now, now.Add(-HeartbeatTimeout - time.Second)}
	for _, tc := range []struct {
		state cluster.PeeringState
		past  past
		want  PeeringHealth
	}{
		{cluster.PeeringPending, never, PeeringNew},
		{cluster.PeeringEstablishing, never, PeeringNew},
		{cluster.PeeringUnknown, never, PeeringNew},
		{cluster.PeeringActive, never, PeeringUp},
		{cluster.PeeringFailing, never, PeeringDown},
		{cluster.PeeringTerminated, never, PeeringDown},
		{cluster.PeeringPending, active, PeeringDown},
		{cluster.PeeringEstablishing, active, PeeringDown},
		{cluster.PeeringUnknown, active, PeeringDown},
		{cluster.PeeringActive, active, PeeringUp},
		{cluster.PeeringActive, silent, PeeringDown},
		{cluster.PeeringDeleting, active, PeeringNew},
	} {
		p := cluster.Peering{Name: "east", State: tc.state, Read: now}
		if got := JudgePeering(&p, tc.past.active, tc.past.heard); got != tc.want {
			t.Errorf("%s with %+v: %s; want %s", tc.state, tc.past, got, tc.want)
		}
	}
}
