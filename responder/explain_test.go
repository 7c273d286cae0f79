// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// What would be done is said, with the reasons, and nothing is done or written, while another responder has the
// history.
func TestExplain(t *testing.T) {
	b := newFixture(t)
	b.rules = append(b.rules, b.rule("dry", "B"))
	b.rules[1].DryRun = true
	b.restart()
	b.deliver(b.alert("server-2", time.Minute))
	b.wait(2 * time.Minute)
	lost := healthyView(3).kill(2)
	for _, tc := range []struct {
		name, alert string
		view        *view
		want        string
	}{
		{
			"allowed", `{"labels":{"alertname":"A","server":"server-3"}}`, b.view,
			"Alert A about server-3\n  Rule act, action fake. It would be done now.\n  fake server-3.\n" +
				"  - Without server-3 2 of 3 voters can be counted on, and the quorum is 2: no further failure can be tolerated.\n",
		},
		{
			"refused", webhookOf(`{"status":"firing","labels":{"alertname":"A","server":"server-3"},` +
				`"startsAt":"2026-11-25T12:01:00Z"}`), lost,
			"Rule act, action fake. Refused.\n",
		},
		{
			"dry run", `{"labels":{"alertname":"B","server":"server-3"}}`, b.view,
			"Rule dry, action fake. It would only be written that it would be done (dry_run).\n  fake server-3.\n",
		},
		{
			"done before", `{"labels":{"alertname":"A","server":"server-2"},"startsAt":"2026-11-25T11:59:00Z"}`, b.view,
			"Alert A about server-2\n  Nothing: it has led to an action before.\n",
		},
		{"no rule", `{"labels":{"alertname":"C"}}`, b.view, "Alert C\n  Nothing: no rule matches it.\n"},
		{"resolved", `{"status":"resolved","labels":{"alertname":"A"}}`, b.view, "Alert A\n  Nothing: it is resolved.\n"},
	} {
		other := &Responder{rules: b.rules, maxPerHour: 100, ledger: newLedger(), now: b.now, look: b.look}
		must.Do(t, other.peek(b.config))
		b.view = tc.view
		var out strings.Builder
		for _, a := range must.Get(alertsIn([]byte(tc.alert), b.clock))(t) {
			other.explain(t.Context(), &a, &out)
		}
		if !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: it says\n%s\nwant\n%s", tc.name, out.String(), tc.want)
		}
	}
	b.expect([]string{"server-2"}, ResultDone)
	if !slices.Equal(b.runs, []string{"server-2"}) {
		t.Errorf("done %v; want nothing more", b.runs)
	}
	for _, bad := range []string{"", "{}", `{"labels":{}}`, `[]`} {
		if _, err := alertsIn([]byte(bad), b.clock); err == nil {
			t.Errorf("%q is an alert", bad)
		}
	}
}

// While the responder that runs is in the middle of an action, nothing would be done.
func TestExplain_UnderWay(t *testing.T) {
	b := newFixture(t)
	b.rules[0].Cooldown = time.Second
	var out strings.Builder
	b.during = func() {
		b.wait(2 * time.Second)
		other := &Responder{rules: b.rules, maxPerHour: 100, ledger: newLedger(), now: b.now, look: b.look}
		must.Do(t, other.peek(b.config))
		a := b.alert("server-3", time.Second)
		other.explain(t.Context(), &a, &out)
	}
	b.deliver(b.alert("server-2", time.Minute))
	const want = "Refused.\n  - An action that has begun may be under way until 2026-11-25T12:01:00Z.\n"
	if !strings.HasSuffix(out.String(), want) {
		t.Errorf("it says\n%s\nwant\n%s", out.String(), want)
	}
}
