// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// Samples are the values of a scrape by series, written as name{label="value",...} with the labels in alphabetical
// order.
type Samples map[string]float64

// ParseSamples reads the text of a scrape.
func ParseSamples(t *testing.T, text string) Samples {
	t.Helper()
	return must.Get(ReadSamples(text))(t)
}

// ReadSamples is ParseSamples outside of a test's own goroutine.
func ReadSamples(text string) (Samples, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics cannot be parsed: %w", err)
	}
	s := make(Samples)
	for name, f := range families {
		for _, m := range f.GetMetric() {
			s[name+labelText(m.GetLabel())] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return s, nil
}

func labelText(pairs []*dto.LabelPair) string {
	if len(pairs) == 0 {
		return ""
	}
	var labels []string
	for _, p := range pairs {
		labels = append(labels, fmt.Sprintf("%s=%q", p.GetName(), p.GetValue()))
	}
	slices.Sort(labels)
	return "{" + strings.Join(labels, ",") + "}"
}

// With returns these samples and more.
func (s Samples) With(more Samples) Samples {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

// Differences says which series do not have the values wanted; absent series are not 0.
func (s Samples) Differences(want Samples) []string {
	var differences []string
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if got, ok := s[series]; !ok {
			differences = append(differences, fmt.Sprintf("%s is absent; want %v", series, want[series]))
		} else if got != want[series] {
			differences = append(differences, fmt.Sprintf("%s = %v; want %v", series, got, want[series]))
		}
	}
	return differences
}

// Unwanted says which series with one of the prefixes are there.
func (s Samples) Unwanted(prefixes ...string) []string {
	var there []string
	for _, series := range slices.Sorted(maps.Keys(s)) {
		if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(series, prefix) }) {
			there = append(there, fmt.Sprintf("%s = %v; want it to be absent", series, s[series]))
		}
	}
	return there
}

// Expect fails for each of the Differences.
func (s Samples) Expect(t *testing.T, want Samples) {
	t.Helper()
	for _, difference := range s.Differences(want) {
		t.Error(difference)
	}
}

// ExpectNone fails for each series with one of the prefixes.
func (s Samples) ExpectNone(t *testing.T, prefixes ...string) {
	t.Helper()
	for _, series := range s.Unwanted(prefixes...) {
		t.Error(series)
	}
}

// Labels returns the value of one label in all series of a family, sorted.
func (s Samples) Labels(family, label string) []string {
	var values []string
	for series := range s {
		if strings.HasPrefix(series, family+"{") {
			values = append(values, labelOf(series, label))
		}
	}
	slices.Sort(values)
	return values
}

// labelOf returns the value of one label of a series that has it.
func labelOf(series, label string) string {
	return regexp.MustCompile(`[{,]` + label + `="([^"]*)"`).FindStringSubmatch(series)[1]
}

// String has the series about Consul, sorted.
func (s Samples) String() string {
	var b strings.Builder
	for _, series := range slices.Sorted(maps.Keys(s)) {
		if strings.HasPrefix(series, "consul_") {
			fmt.Fprintf(&b, "%s %v\n", series, s[series])
		}
	}
	return b.String()
}
