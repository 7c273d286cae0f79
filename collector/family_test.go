// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// text writes families as a scrape would show them.
func text(tb testing.TB, all []*dto.MetricFamily) string {
	tb.Helper()
	var b strings.Builder
	for _, f := range all {
		must.Get(expfmt.MetricFamilyToText(&b, f))(tb)
	}
	return b.String()
}

func TestFamilies(t *testing.T) {
	t.Parallel()
	var define definitions
	temperature := define.gauge("temperature_celsius", "How warm it is.", "room", "wall")
	visits := define.counter("visits_total", "How many came.")
	fs := newFamilies()
	fs.add(visits, 3)
	fs.add(temperature, 20.5, "a", "b")
	fs.add(temperature, 21, "ab", "")
	fs.add(temperature, 22, "日本", "Ünï\"cödé\n")
	fs.add(temperature, 23, "a\xffb", "\xc3\x28")
	fs.flag(temperature, true, "true", "")
	fs.flag(temperature, false, "false", "")
	fs.add(temperature, 99, "a", "b")             // There already.
	fs.add(temperature, 99, "a\xfeb", "\xc3\x28") // The same once it is valid.
	fs.add(visits, 99)

	want := `# HELP temperature_celsius How warm it is.
# TYPE temperature_celsius gauge
temperature_celsius{room="a",wall="b"} 20.5
temperature_celsius{room="ab",wall=""} 21
temperature_celsius{room="日本",wall="Ünï\"cödé\n"} 22
temperature_celsius{room="a` + "\uFFFD" + `b",wall="` + "\uFFFD" + `("} 23
temperature_celsius{room="true",wall=""} 1
temperature_celsius{room="false",wall=""} 0
# HELP visits_total How many came.
# TYPE visits_total counter
visits_total 3
`
	if got := text(t, fs.proto()); got != want {
		t.Errorf("families are\n%s\nwant\n%s", got, want)
	}
	if fs.dropped != 3 {
		t.Errorf("%d series dropped; want 3", fs.dropped)
	}
}

// Families larger than a slab have all their series.
func TestFamilies_Many(t *testing.T) {
	t.Parallel()
	var define definitions
	d := define.gauge("many", "Many series.", "n", "same")
	fs := newFamilies()
	const n = 3*largeSlab + 1
	for i := range n {
		fs.add(d, float64(i), fmt.Sprint(i), "x")
		fs.add(d, -1, fmt.Sprint(i), "x")
	}
	metrics := fs.proto()[0].GetMetric()
	if len(metrics) != n || fs.dropped != n {
		t.Fatalf("%d series, %d dropped; want %d of each", len(metrics), fs.dropped, n)
	}
	for i, m := range metrics {
		if m.GetGauge().GetValue() != float64(i) || m.GetLabel()[0].GetValue() != fmt.Sprint(i) {
			t.Fatalf("series %d is %v", i, m)
		}
		if m.GetLabel()[1] != metrics[0].GetLabel()[1] {
			t.Fatalf("series %d has its own copy of a label that all share", i)
		}
	}
}

func TestFamilies_WrongLabels(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var define definitions
	newFamilies().add(define.gauge("x", "X.", "a"), 1)
}
