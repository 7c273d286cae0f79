// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strings"
	"testing"
)

const wanMissing = "consul_server_wan_missing_since_timestamp_seconds"

// A server with a port for the WAN pool that is not in it has the time since when, which does not move.
func TestWANMissing(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	e := f.exporter(nil, "members")
	lan, wan := f.answers()["/v1/agent/members"], f.answers()["/v1/agent/members?wan"]
	f.answerWith("/v1/agent/members", strings.ReplaceAll(lan, `"acls":`, `"wan_join_port":"8302","acls":`))
	const far = `,{"Name":"server-1.dc2","Addr":"10.2.0.1","Status":1,"Tags":{"role":"consul","dc":"dc2","id":"far"}}]`
	withFar := strings.TrimSuffix(wan, "]") + far
	without3 := strings.ReplaceAll(strings.ReplaceAll(withFar, `"server-3.dc1"`, `"server-9.dc1"`), `"id-3"`, `"id-9"`)

	f.answerWith("/v1/agent/members?wan", withFar)
	expectAbsent(t, gatherAll(t, e), wanMissing)
	f.answerWith("/v1/agent/members?wan", without3)
	first, ok := value(gatherAll(t, e), wanMissing, "server", "server-3")
	if !ok || first == 0 {
		t.Errorf("missing since %v (there: %v); want some time", first, ok)
	}
	all := gatherAll(t, e)
	expectValue(t, all, first, wanMissing, "server", "server-3")
	expectAbsent(t, all, wanMissing, "server", "server-1")
	f.answerWith("/v1/agent/members?wan", "[]") // A client's.
	expectAbsent(t, gatherAll(t, e), wanMissing)
}
