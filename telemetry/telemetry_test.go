// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/streamtest"
)

func TestFigures_Names(t *testing.T) {
	t.Parallel()
	const alloc = "consul.runtime.alloc_bytes"
	filter := func(allowed, blocked string) Config {
		return Config{AllowedPrefixes: strings.Fields(allowed), BlockedPrefixes: strings.Fields(blocked)}
	}
	for _, tc := range []struct {
		name   string
		config Config
		// gauge is the name under which a gauge comes, counters whether what was not counted is known not to be.
		gauge string
		there bool
		rate  bool
	}{
		{"plain", Config{}, alloc, true, true},
		{"host", Config{}, "consul.web-1.runtime.alloc_bytes", true, true},
		{"host with dots", Config{}, "consul.web-1.example.com.runtime.alloc_bytes", true, true},
		{"prefix", Config{MetricsPrefix: "my.consul"}, "my.consul.web-1.runtime.alloc_bytes", true, true},
		{"another prefix", Config{MetricsPrefix: "mine"}, alloc, false, true},
		{"another name", Config{}, "consul.xruntime.alloc_bytes", false, true},
		{"default of the filter", Config{FilterDefault: new(false)}, alloc, true, false},
		{"blocked", filter("", "consul.rpc"), alloc, true, false},
		{"blocked and allowed", filter("consul.rpc.request", "consul.rpc"), alloc, true, true},
		{"allowed and blocked", filter("consul", "consul.rpc.r"), alloc, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var answer Answer
			must.Do(t, json.Unmarshal([]byte(`{"Gauges":[{"Name":"`+tc.gauge+`","Value":7}]}`), &answer))
			figures := answer.Figures(&tc.config)
			if v, ok := figures.Gauge("runtime.alloc_bytes"); ok != tc.there || (ok && v != 7) {
				t.Errorf("gauge is %v (there: %v); want it there: %v", v, ok, tc.there)
			}
			if v, ok := figures.Rate("rpc.request"); ok != tc.rate || v != 0 {
				t.Errorf("rate is %v (there: %v); want 0 there: %v", v, ok, tc.rate)
			}
		})
	}
	nothing := new(Answer).Figures(new(Config))
	if _, ok := nothing.Rate("rpc.request"); ok {
		t.Error("an agent that has measured nothing has a rate")
	}
}

func streamDecoders() map[string]streamtest.Decoder {
	return map[string]streamtest.Decoder{
		"samples": streamtest.New(`{"Samples":[`, `{"Labels":{"#":""}}`, "]}", streamtest.Streamed(new(Answer).Decode)),
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	streamtest.ExpectBudget(t, streamDecoders())
}

func FuzzStreams(f *testing.F) { streamtest.Fuzz(f, streamDecoders) }
