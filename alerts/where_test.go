// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"strings"
	"testing"
	"text/template"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// A description begins with the cluster, by the labels that tell clusters apart, without those that are not there.
func TestWhere(t *testing.T) {
	t.Parallel()
	type labels map[string]string
	for _, tc := range []struct {
		groupBy, selector string
		labels            labels
		want              string
	}{
		{
			labels: labels{"cluster": "production", "datacenter": "dc1", "job": "consul"},
			want:   "Cluster production, datacenter dc1: ",
		},
		{labels: labels{"cluster": "production", "job": "consul"}, want: "Cluster production: "},
		{labels: labels{"datacenter": "dc1", "job": "consul"}, want: "Job consul, datacenter dc1: "},
		{labels: labels{"job": "consul"}, want: "Job consul: "},
		{groupBy: "job", labels: labels{"job": "consul"}, want: "Job consul: "},
		{groupBy: "environment,dc", labels: labels{"environment": "test", "dc": "dc1"}, want: "Environment test, dc dc1: "},
		{groupBy: "environment,dc", labels: labels{}, want: "Consul: "},
		{
			selector: `env="prod"`, labels: labels{"cluster": "production", "env": "prod", "job": "consul"},
			want: "Cluster production, env prod: ",
		},
	} {
		given := map[string]string{settingSelector: tc.selector}
		if tc.groupBy != "" {
			given[settingGroupBy] = tc.groupBy
		}
		text := must.Get(newValues(given))(t).where()
		var b strings.Builder
		parsed := must.Get(template.New("").Option("missingkey=zero").Parse("{{ $labels := . }}" + text))(t)
		must.Do(t, parsed.Execute(&b, tc.labels))
		if b.String() != tc.want {
			t.Errorf("--group-by=%s, %v: %q; want %q", tc.groupBy, tc.labels, b.String(), tc.want)
		}
	}
}
