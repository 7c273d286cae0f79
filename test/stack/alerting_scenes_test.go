// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// TestStackAlerts breaks clusters and sees who is notified. The faults that need the packet filter are in
// TestE2EAlerts. At the same time some are made in real time, of those that TestAlertsRealTime makes.
func TestStackAlerts(t *testing.T) {
	t.Run("in real time", func(t *testing.T) {
		t.Parallel()
		playRealTime(t, sampleOfRealActs(), 8*time.Minute)
	})
	play(t, slices.Concat(serverFaults, exporterFaults, meshFaults))
}

// fault is a row of the table: something that goes wrong, and which alerts it leads to.
type fault struct {
	// act is the same for faults that share a Prometheus and an Alertmanager and happen at the same time. A fault without
	// it happens in the cluster of the one before.
	act string
	// settings are those of the pack in the act.
	settings map[string]string
	options  consultest.Options
	// prepare changes the cluster before the exporters start, and returns further flags for them.
	prepare func(w *world) (flags []string)
	// asked are the agents that exporters ask, one exporter for each, and marked those that marked exporters ask.
	asked, marked string
	// probeTimeout is that of the exporters, 1500ms by default.
	probeTimeout string
	// cluster is the label of the exporters' metrics.
	cluster string

	// name says what goes wrong. docs/alerts-proven.md calls it so.
	name string
	// breaks makes the fault and repairs ends it; nil does nothing.
	breaks, repairs step
	// alerts are those that arrive, and those that fire and are held back.
	alerts []wantAlert
	// except are the differences between pages and alerts that are right.
	except []exception
}

// step changes something about the world of a fault.
type step func(w *world)

func (s step) take(w *world) {
	if s != nil {
		s(w)
	}
}

// world has everything that was started for a fault and those that happen in the same cluster.
type world struct {
	t *testing.T
	*alertStack
	*consultest.Cluster
	// first is the fault that comes with the cluster.
	first *fault
	// exporters are the last ones started for each label of a cluster.
	exporters map[string]*watcher
	// token is in tokenFile, and both files are read by the exporter.
	token, tokenFile, configFile string
	// filters are those that are or were in force.
	filters []*harness.PacketFilter
	// stalled resume disks that were stalled.
	stalled []func()
	// peer is a server of another cluster.
	peer *consultest.Agent
}

// exception says why a page, its JSON or check need not agree with the alerts.
type exception struct {
	why string
	// view is the only one that it is about, if any, and alerts are the names of the only alerts, if any.
	view   string
	alerts []string
}

// wantAlert is one alert that a fault leads to.
type wantAlert struct {
	name, severity string
	// labels are all but the name, the severity, and those that tell clusters apart; nil is any number of alerts with
	// any labels.
	labels map[string]string
	// held is whether Alertmanager holds the alert back, because another one is its cause.
	held bool
}

// receivers are the receivers of the example by severity, for all alerts but those about a service.
var receivers = map[string]string{"critical": "pager", "warning": "chat", "info": "tickets"}

// receiverOf is the receiver of an alert.
func receiverOf(severity string, labels map[string]string) string {
	if labels["service_name"] != "" {
		return "services"
	}
	return receivers[severity]
}

func critical(name, labels string) wantAlert { return newWantAlert(name, "critical", labels) }
func warning(name, labels string) wantAlert  { return newWantAlert(name, "warning", labels) }
func info(name, labels string) wantAlert     { return newWantAlert(name, "info", labels) }

// newWantAlert reads labels written as server=server-1 port=8300; * is any number of alerts with any labels.
func newWantAlert(name, severity, labels string) wantAlert {
	a := wantAlert{name: name, severity: severity}
	if labels == "*" {
		return a
	}
	a.labels = map[string]string{}
	for pair := range strings.FieldsSeq(labels) {
		label, value, _ := strings.Cut(pair, "=")
		a.labels[label] = value
	}
	return a
}

func held(a wantAlert) wantAlert {
	a.held = true
	return a
}

// allFaults are all of them, each once, in the order of docs/alerts-proven.md.
func allFaults() []fault {
	all := slices.Concat(serverFaults, exporterFaults, meshFaults, firewallFaults)
	return slices.CompactFunc(all, func(a, b fault) bool { return a.name == b.name })
}

// play makes faults, as many acts at a time as tests may run in parallel.
func play(t *testing.T, faults []fault) {
	t.Helper()
	binary := harness.BuildExporter(t)
	var acts []string
	byAct := make(map[string][]*fault)
	act := ""
	for i, f := range faults {
		if act = cmp.Or(f.act, act); byAct[act] == nil {
			acts = append(acts, act)
		}
		byAct[act] = append(byAct[act], &faults[i])
	}
	for _, act := range acts {
		t.Run(act, func(t *testing.T) {
			t.Parallel()
			settings := make(map[string]string)
			for _, f := range byAct[act] {
				maps.Copy(settings, f.settings)
			}
			stack := startAlerting(t, binary, settings)
			var outages []*outage
			var w *world
			for _, f := range byAct[act] {
				if f.act != "" {
					w = stack.open(t, f)
				}
				outages = append(outages, &outage{fault: f, world: w, cluster: cmp.Or(f.cluster, w.first.cluster)})
			}
			stack.prove(t, outages)
		})
	}
}

// open starts the cluster of a fault, which server-1 leads, and the exporters.
func (s *alertStack) open(t *testing.T, f *fault) *world {
	t.Helper()
	w := &world{t: t, alertStack: s, first: f, exporters: make(map[string]*watcher)}
	w.Cluster = consultest.Start(t, f.options)
	if f.options.Bootstrap == consultest.BootstrapExpect {
		must.Do(t, w.TransferLeadership(harness.Soon(t), w.Servers[0]))
	}
	var flags []string
	if f.prepare != nil {
		flags = f.prepare(w)
	}
	for name := range strings.FieldsSeq(f.asked) {
		w.start(f.cluster, w.agent(name), nil, flags...)
	}
	for name := range strings.FieldsSeq(f.marked) {
		w.start(f.cluster, w.agent(name), markedCommand, flags...)
	}
	return w
}

// agent finds an agent by its name.
func (w *world) agent(name string) *consultest.Agent {
	all := w.Agents()
	i := slices.IndexFunc(all, func(a *consultest.Agent) bool { return a.Name == name })
	if i < 0 {
		w.t.Fatalf("there is no agent %s", name)
	}
	return all[i]
}

// start starts an exporter that asks an agent, and that Prometheus scrapes from then on. The command runs it, if there
// is one.
func (w *world) start(cluster string, asked *consultest.Agent, command []string, flags ...string) {
	command = append(slices.Clone(command), w.binary)
	timeout := "--probe.timeout=" + cmp.Or(w.first.probeTimeout, "1500ms")
	flags = append([]string{timeout, "--consul.server=" + asked.URL()}, flags...)
	state := filepath.Join(w.t.TempDir(), "state.json")
	own := slices.Concat(command[1:], flags, []string{"--web.scrape-timeout-offset=100ms", "--state.file=" + state})
	e := &watcher{Exporter: harness.Launch(w.t, command[0], nil, own...), cluster: cluster}
	shared := slices.DeleteFunc(flags, func(f string) bool {
		return strings.HasPrefix(f, "--collector.") || strings.HasPrefix(f, "--config.")
	})
	e.check = slices.Concat(command, []string{"check", "--output=json", "--exporter=" + e.URL}, shared)
	w.exporters[cluster] = e
	w.watch(w.t, e)
}

// replace takes an exporter from Prometheus, and starts another one for its cluster.
func (w *world) replace(cluster string, flags ...string) {
	w.unwatch(w.t, w.exporters[cluster])
	w.start(cluster, w.Servers[0], nil, flags...)
}

// onAgents is a step that does the same with each of these agents.
func onAgents(do func(a *consultest.Agent) error, names ...string) step {
	return func(w *world) {
		for _, name := range names {
			must.Do(w.t, do(w.agent(name)))
		}
	}
}

func kill(names ...string) step { return onAgents((*consultest.Agent).Kill, names...) }
func stop(name string) step     { return onAgents((*consultest.Agent).Stop, name) }
func resume(name string) step   { return onAgents((*consultest.Agent).Continue, name) }

// restart starts agents again and waits until they answer.
func restart(names ...string) step {
	return func(w *world) {
		for _, name := range names {
			must.Do(w.t, w.agent(name).Restart(harness.Soon(w.t)))
		}
	}
}
