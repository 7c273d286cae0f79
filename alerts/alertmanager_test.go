// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// Other labels take the place of the defaults wherever these were: in the grouping, and in each inhibition.
func TestAlertmanager_GroupBy(t *testing.T) {
	t.Parallel()
	defaults, err := alerts.Alertmanager(nil)
	harness.Must(t, err)
	got, err := alerts.Alertmanager(map[string]string{"group-by": "environment,dc"})
	harness.Must(t, err)
	content := string(got.Content)
	inhibitions := strings.Count(content, "\n    equal: [")
	if n := strings.Count(content, "environment, dc"); n != 1+inhibitions || inhibitions == 0 {
		t.Errorf("the labels are there %d times; want once in the grouping and in each of %d inhibitions", n, inhibitions)
	}
	back := strings.ReplaceAll(content, "environment, dc", "cluster, datacenter, job")
	if diff := cmp.Diff(string(defaults.Content), back); diff != "" {
		t.Errorf("more than the labels differs:\n%s", diff)
	}
}

func TestAlertmanager_BadSettings(t *testing.T) {
	t.Parallel()
	const want = `--group-by: "a b" is no list of names of labels; want for example cluster,datacenter`
	if _, err := alerts.Alertmanager(map[string]string{"group-by": "a b"}); err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
}
