// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	dto "github.com/prometheus/client_model/go"

	"github.com/zervigo/consul_cluster_exporter/cluster"
)

// hostileAnswers are what an endpoint may answer with, made from its right answer.
var hostileAnswers = []struct {
	name string
	// broken is whether no endpoint can take it for an answer.
	broken bool
	answer func(right string) http.HandlerFunc
}{
	{"empty", true, says("")},
	{"not JSON", true, says("<html><body>It works!</body></html>")},
	{"noise", true, says("\x00\xff\xfe\x80{[\x01")},
	{"half", true, turns(func(right string) string { return right[:len(right)/2] })},
	{"followed by more", false, turns(func(right string) string { return right + right })},
	{"nested", true, says(strings.Repeat("[", 100_000))},
	{"nested objects", true, says(strings.Repeat(`{"a":`, 100_000))},
	{"null", false, says("null")},
	{"list", false, says(`[1, "x", {}, null, [[]]]`)},
	{"object", false, says(`{"Config": 1, "Servers": "x", "Roots": {}, "Node": []}`)},
	{"number", false, says("1e999")},
	{"text", false, says(`"server-1"`)},
	{"list of nothing", false, says("[{},null,{}]")},
	{"wrong types", false, turns(strings.NewReplacer(`"`, `1`, `1`, `"1"`, `true`, `[]`).Replace)},
	{"bad text", false, turns(strings.NewReplacer("server-1", "server\xff\xfe").Replace)},
	{"huge numbers", false, turns(func(right string) string { return twenty.ReplaceAllString(right, "9e999") })},
	{"negative numbers", false, turns(strings.NewReplacer(":1", ":-1").Replace)},
	{"torn", true, func(right string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(right)+1000))
			_, _ = io.WriteString(w, right[:len(right)/2])
		}
	}},
	{"endless", true, func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, err := io.WriteString(w, "["); err == nil; {
				_, err = io.WriteString(w, strings.Repeat(`{"Name":"server-1"},`, 1000))
			}
		}
	}},
}

// twenty is that number, and no part of a port's.
var twenty = regexp.MustCompile(`\b20\b`)

func says(body string) func(string) http.HandlerFunc {
	return turns(func(string) string { return body })
}

// turns answers with what becomes of the right answer.
func turns(into func(right string) string) func(string) http.HandlerFunc {
	return func(right string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, into(right)) }
	}
}

// gatherHostile scrapes with a bound on answers, and returns what is logged. Nothing may panic.
func (f *fakeConsul) gatherHostile(t *testing.T, agentOnly bool, enabled ...string) ([]*dto.MetricFamily, string) {
	t.Helper()
	var logged strings.Builder
	e := f.exporterWith(func(clusterOpts *cluster.Options, opts *Options) {
		clusterOpts.Client.MaxResponseBytes, clusterOpts.Client.Timeout = 1<<17, 20*time.Second
		clusterOpts.AgentOnly = agentOnly
		opts.Logger = log.NewLogfmtLogger(&logged)
	}, enabled...)
	all := gatherAll(t, e)
	if strings.Contains(logged.String(), "panic") {
		t.Error(logged.String())
	}
	return all, logged.String()
}

// Whatever an endpoint answers, the scrape is delivered, what does not need the endpoint is complete, and nothing
// panics. What cannot be read at all makes the collectors that need it fail, with a reason that names the endpoint.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for _, hostile := range hostileAnswers {
		t.Run(hostile.name, func(t *testing.T) {
			t.Parallel()
			for path, right := range startFake(t).answers() {
				needs := dependents[path]
				if needs == nil {
					continue
				}
				if path == "/v1/status/leader" { // With status 500 it is an answer of sorts, but not like this.
					needs = append(slices.Clone(needs), "consistent")
				}
				f := startFake(t)
				f.handle(path, hostile.answer(right))
				start := time.Now()
				all, logged := f.gatherHostile(t, false)
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("%s: scrape took %s", path, took)
				}
				for _, r := range registry {
					if needed := slices.Contains(needs, r.Name); !needed || hostile.broken {
						expectSuccess(t, all, !needed, r.Name)
					}
				}
				name, _, _ := strings.Cut(strings.Replace(path, "limits/", ":prefix", 1), "?")
				if hostile.broken && !strings.Contains(logged, name) && path != consistentPath {
					t.Errorf("%s is not named in the log:\n%s", path, logged)
				}
				expectValue(t, all, 1, "consul_cluster_leaders")
			}
		})
	}
}

// The same for what is read only where Consul does not return all of the catalog at once, and with --consul.agent-only.
func TestHostileAnswers_Catalog(t *testing.T) {
	t.Parallel()
	for _, hostile := range hostileAnswers {
		t.Run(hostile.name, func(t *testing.T) {
			t.Parallel()
			for path, agentOnly := range map[string]bool{
				"/v1/agent/services": true, "/v1/agent/checks": true,
				"/v1/catalog/services": false, "/v1/health/state/any": false, "/v1/health/service/web": false,
			} {
				f := startFake(t)
				f.answer("/v1/internal/ui/nodes", 403)
				f.answerWith("/v1/catalog/services", `{"consul":[],"web":[]}`)
				f.handle(path, hostile.answer(f.answers()[path]))
				all, logged := f.gatherHostile(t, agentOnly, "agent", "catalog")
				expectSuccess(t, all, true, "agent")
				if !hostile.broken {
					continue
				}
				expectSuccess(t, all, false, "catalog")
				if named := strings.Replace(path, "service/web", "service/:name", 1); !strings.Contains(logged, named) {
					t.Errorf("%s is not named in the log:\n%s", named, logged)
				}
			}
		})
	}
}
