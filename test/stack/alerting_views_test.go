// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/status"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// agreeWithin is how long pages and alerts may take to agree: alerts pend up to 15 minutes, scaled.
const agreeWithin = 150 * time.Second

// watcher is an exporter, and the command that checks the cluster as this exporter does.
type watcher struct {
	*harness.Exporter
	cluster string
	check   []string
}

// running reports whether the exporter has not ended.
func (w *watcher) running() bool {
	select {
	case <-w.Exited:
		return false
	default:
		return true
	}
}

// problem is an alert or a problem of a page, as far as the two can be compared: where alerts are about several ports
// or services, a page may have one problem.
type problem struct {
	severity status.Severity
	alert    string
	// server is empty for the problems of agents, which alerts do not name.
	server string
	// instance is the only exporter that an alert is about; empty for the others and for the problems of a page.
	instance string
}

func newProblem(severity status.Severity, alert, server string) problem {
	if alert == "ConsulAgentUnreachable" || alert == "ConsulGossipHealthPoor" {
		server = ""
	}
	return problem{severity: severity, alert: alert, server: server}
}

// isAbout reports whether an alert is about what this exporter sees.
func (p problem) isAbout(w *watcher) bool { return p.instance == "" || p.instance == w.HostPort() }

// notOnPages are the alerts that no page has, with the reason. If a page had one, it would have to fire.
var notOnPages = map[string]string{
	"ConsulCARootExpires":           "the status does not include the roots of the service mesh",
	"ConsulCatalogTooLarge":         "is about series, which only a scrape of the metrics has",
	"ConsulConfigReloadFailed":      "is about the exporter's configuration file, which is not Consul's state",
	"ConsulExporterCutOff":          "compares what several exporters see",
	"ConsulExporterDown":            "such an exporter has no page",
	"ConsulExporterMissing":         "such an exporter has no page",
	"ConsulGossipEncryptionDiffers": "compares what several exporters see",
	"ConsulLeaderChangesOften":      "rests on a rate over time",
	"ConsulNodeMaintenanceLong":     "rests on how long the maintenance lasts",
	"ConsulPeeringDown":             "the status does not include peerings",
	"ConsulPortErrors":              "rests on a rate over time",
	"ConsulPortViewsDiffer":         "compares what several exporters see",
	"ConsulCatalogShrinks":          "compares with an hour ago",
	"ConsulServiceVanished":         "compares with an hour ago",
	"ConsulRPCErrors":               "rests on a rate over time",
	"ConsulRateLimited":             "rests on a rate over time",
	"ConsulScrapeSlow":              "is about scrapes of the metrics",
	"ConsulServerWithoutVote":       "rests on an hour without a vote",
	"ConsulServiceMaintenanceLong":  "rests on how long the maintenance lasts",
}

// views are the ways to look at a cluster by an exporter.
var views = map[string]func(context.Context, *watcher) ([]problem, error){
	"page": func(ctx context.Context, w *watcher) ([]problem, error) { // Without servers.
		_, body, err := w.Get(ctx, "/", 10*time.Second)
		var all []problem
		for _, m := range problemOnPage.FindAllStringSubmatch(body, -1) {
			all = append(all, problem{severity: status.Severity(m[1]), alert: m[2]})
		}
		return all, err
	},
	"JSON": func(ctx context.Context, w *watcher) ([]problem, error) {
		_, body, err := w.Get(ctx, "/?format=json", 10*time.Second)
		if err != nil {
			return nil, err
		}
		return problemsIn([]byte(body))
	},
	"check": func(ctx context.Context, w *watcher) ([]problem, error) {
		out, err := exec.CommandContext(ctx, w.check[0], w.check[1:]...).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) && len(out) == 0 { // Otherwise the exit code is the level.
			return nil, fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return problemsIn(out)
	},
}

var problemOnPage = regexp.MustCompile(`<li class="(\w+)"[^>]*><strong>.*?</span> <a href="[^"]*">(\w+)</a>`)

// problemsIn returns the problems of a status, which is JSON.
func problemsIn(content []byte) ([]problem, error) {
	var view status.View
	err := json.Unmarshal(content, &view)
	var all []problem
	problems := view.Problems
	if view.Services != nil {
		problems = slices.Concat(problems, view.Services.Problems)
	}
	for _, p := range problems {
		all = append(all, newProblem(p.Severity, p.Alert, p.Server))
	}
	return all, err
}

// waitAgreement waits until each exporter's page, its JSON and check show the alerts that fire and are not held back,
// no more and no less, with the exceptions of these outages.
func (p *observation) waitAgreement(t *testing.T, during []*outage) {
	t.Helper()
	harness.WaitFor(t, agreeWithin, "pages and check to show what fires", func() string {
		p.expectNotifications(t)
		firing, wrong := p.notHeldBack(t)
		differences := make([]string, len(p.watchers))
		var wg sync.WaitGroup
		for i, w := range p.watchers {
			wg.Go(func() { differences[i] = w.differences(t.Context(), firing[w.cluster], during) })
		}
		wg.Wait()
		differences = slices.DeleteFunc(differences, func(d string) bool { return d == "" })
		return strings.Join(slices.Concat(wrong, differences), "\n")
	})
}

// notHeldBack returns the alerts that fire and do not follow from others, by cluster, and where Alertmanager does not
// agree about what does.
func (p *observation) notHeldBack(t *testing.T) (left map[string][]problem, wrong []string) {
	t.Helper()
	routed := p.routed(t)
	firing := make(map[string][]alerts.Alert)
	for _, a := range p.active(t) {
		if cluster := a.Labels["cluster"]; a.State == "firing" {
			firing[cluster] = append(firing[cluster], alerts.Alert{Name: a.Labels["alertname"], Labels: a.Labels})
		}
	}
	left = make(map[string][]problem)
	for cluster, all := range firing {
		for _, a := range all {
			held := alerts.HeldBack(all)(a)
			if !held {
				shown := newProblem(status.Severity(a.Labels["severity"]), a.Name, a.Labels["server"])
				shown.instance = a.Labels["instance"]
				left[cluster] = append(left[cluster], shown)
			}
			if !slices.ContainsFunc(routed, func(r routedAlert) bool {
				return maps.Equal(r.Labels, a.Labels) && r.heldBack() == held
			}) {
				wrong = append(wrong, fmt.Sprintf("Alertmanager does not say of %s: held back: %v", alertText(a.Labels), held))
			}
		}
	}
	return left, wrong
}

// differences says what each view of a cluster lacks of these alerts, and what it has beyond them.
func (w *watcher) differences(ctx context.Context, firing []problem, during []*outage) string {
	if !w.running() {
		return ""
	}
	firing = slices.DeleteFunc(slices.Clone(firing), func(p problem) bool { return !p.isAbout(w) })
	var all []string
	for view, read := range views {
		shown, err := read(ctx, w)
		if err != nil && !excused(during, w.cluster, view, "") {
			all = append(all, fmt.Sprintf("%s of an exporter of %s: %v", view, w.cluster, err))
		}
		if err != nil {
			continue
		}
		beyond := func(some, others []problem, mayDiffer map[string]string) []problem {
			return slices.DeleteFunc(slices.Clone(some), func(p problem) bool {
				return mayDiffer[p.alert] != "" || excused(during, w.cluster, view, p.alert) ||
					slices.ContainsFunc(others, func(o problem) bool {
						return p.alert == o.alert && p.severity == o.severity && (p.server == o.server || view == "page")
					})
			})
		}
		missing, surplus := beyond(firing, shown, notOnPages), beyond(shown, firing, nil)
		if len(missing)+len(surplus) > 0 {
			all = append(all, fmt.Sprintf("%s of an exporter of %s: missing %v, surplus %v", view, w.cluster, missing, surplus))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// excused reports whether a view may differ in an alert from what fires: because of an exception, or because a busy
// machine leads to it and none of the outages does.
func excused(during []*outage, cluster, view, alert string) bool {
	busy := aboutMachine(alert)
	for _, o := range during {
		if o.cluster != cluster {
			continue
		}
		for _, e := range o.except {
			if (e.view == "" || e.view == view) && (e.alerts == nil || slices.Contains(e.alerts, alert)) {
				return true
			}
		}
		busy = busy && !slices.ContainsFunc(o.alerts, func(a wantAlert) bool { return a.name == alert })
	}
	return busy
}
