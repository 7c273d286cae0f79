// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metrics is one scrape: the samples of each family, by its name.
type metrics map[string][]sample

// sample is one series with its value.
type sample struct {
	labels map[string]string
	value  float64
}

// figure is a value that may be unknown.
type figure struct {
	value float64
	known bool
}

func (f figure) String() string {
	if !f.known {
		return "-"
	}
	return fmt.Sprintf("%.0f", f.value)
}

// is says whether the figure is known and has this value.
func (f figure) is(value float64) bool { return f.known && f.value == value }

// parseMetrics reads the text format. Histograms and summaries are left out.
func parseMetrics(r io.Reader) (metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	m := make(metrics, len(families))
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			if value, ok := valueOf(metric); ok {
				m[name] = append(m[name], sample{labelsOf(metric), value})
			}
		}
	}
	return m, nil
}

func valueOf(m *dto.Metric) (value float64, ok bool) {
	switch {
	case m.Gauge != nil:
		return m.Gauge.GetValue(), true
	case m.Counter != nil:
		return m.Counter.GetValue(), true
	case m.Untyped != nil:
		return m.Untyped.GetValue(), true
	default:
		return 0, false
	}
}

func labelsOf(m *dto.Metric) map[string]string {
	labels := make(map[string]string, len(m.GetLabel()))
	for _, pair := range m.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

// get returns the value of the first series of this name that has all these labels, given as name and value in turn.
func (m metrics) get(name string, labels ...string) figure {
	for _, s := range m[name] {
		if s.has(labels) {
			return figure{s.value, true}
		}
	}
	return figure{}
}

func (s sample) has(labels []string) bool {
	for i := 0; i+1 < len(labels); i += 2 {
		if s.labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
}
