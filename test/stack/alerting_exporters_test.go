// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build stack

package stack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// exporterFaults are faults of exporters and of how they are configured. All watch one server, each fault as if it
// had a cluster to itself.
var exporterFaults = []fault{
	{
		act: "exporters and agents", options: consultest.Options{Servers: 1}, prepare: startExporters,
		cluster: "doubled", name: "one of two exporters is killed",
		breaks: end("doubled"), repairs: again("doubled"),
		alerts: []wantAlert{warning("ConsulExporterDown", "*")},
	},
	{
		cluster: "single", name: "the only exporter is killed",
		breaks: end("single"), repairs: again("single"),
		alerts: []wantAlert{critical("ConsulExporterMissing", ""), held(warning("ConsulExporterDown", "*"))},
	},
	{
		cluster: "dropped", name: "service discovery drops the only exporter",
		breaks:  func(t *testing.T, w *world) { w.unwatch(t, w.exporters["dropped"]) },
		repairs: func(t *testing.T, w *world) { w.watch(t, w.exporters["dropped"]) },
		alerts:  []wantAlert{critical("ConsulExporterMissing", "")},
	},
	{
		cluster: "large", name: "the catalog outgrows `--collector.catalog.max-series`",
		breaks: eachExtra(func(t *testing.T, a *consultest.Agent, id string) { register(t, a, id, id) }),
		repairs: eachExtra(func(t *testing.T, a *consultest.Agent, id string) {
			harness.Must(t, a.Client().Agent().ServiceDeregister(id))
		}),
		alerts: []wantAlert{warning("ConsulCatalogTooLarge", "")},
	},
	{
		cluster: "configured", name: "the exporter's configuration file is broken, and loaded",
		breaks:  func(t *testing.T, w *world) { reload(t, w, "modules: [") },
		repairs: func(t *testing.T, w *world) { reload(t, w, goodConfig) },
		alerts:  []wantAlert{warning("ConsulConfigReloadFailed", "*")},
	},
	{
		cluster: "misled", name: "the exporter is told to read a datacenter that there is not",
		breaks:  func(t *testing.T, w *world) { w.replace(t, "misled", "--consul.datacenter=dc9") },
		repairs: again("misled"),
		alerts: []wantAlert{
			warning("ConsulCollectorFails", "collector=catalog"),
			warning("ConsulCollectorFails", "collector=members"),
			warning("ConsulCollectorFails", "collector=overview"),
		},
	},
	{
		cluster: "impaired", name: "the exporter's token file is gone",
		breaks:  func(t *testing.T, w *world) { harness.Must(t, os.Rename(w.tokenFile, w.tokenFile+".gone")) },
		repairs: func(t *testing.T, w *world) { harness.Must(t, os.Rename(w.tokenFile+".gone", w.tokenFile)) },
		alerts:  []wantAlert{warning("ConsulExporterImpaired", "*")},
		except:  []exception{{why: "check does not start without the file", view: "check"}},
	},
}

// eachExtra does something for each of fifty services, which have three series each and more.
func eachExtra(do func(t *testing.T, a *consultest.Agent, id string)) step {
	return func(t *testing.T, w *world) {
		for i := range 50 {
			do(t, w.Servers[0], fmt.Sprintf("extra-%d", i))
		}
	}
}

// goodConfig is a configuration file without mistakes.
const goodConfig = "modules: {m: {targets: [127.0.0.0/8]}}"

// startExporters starts the exporters of all faults.
func startExporters(t *testing.T, w *world) []string {
	t.Helper()
	w.configFile = filepath.Join(harness.WriteFiles(t, map[string]string{"config.yml": goodConfig}), "config.yml")
	w.tokenFile = harness.Secret(t, "any-token-will-do-without-acls")
	start := func(cluster string, flags ...string) {
		w.start(t, cluster, nil, append(flags, "--consul.server="+w.Servers[0].URL())...)
	}
	for _, cluster := range []string{"doubled", "doubled", "single", "dropped", "misled"} {
		start(cluster)
	}
	start("large", "--collector.catalog.max-series=150")
	start("configured", "--config.file="+w.configFile)
	start("impaired", "--consul.token-file="+w.tokenFile)
	return nil
}

// end ends the exporter of a cluster, and again starts another one.
func end(cluster string) step {
	return func(t *testing.T, w *world) { harness.Must(t, w.exporters[cluster].Stop()) }
}

func again(cluster string) step {
	return func(t *testing.T, w *world) { w.replace(t, cluster) }
}

// reload makes an exporter load another configuration file.
func reload(t *testing.T, w *world, content string) {
	t.Helper()
	rewrite(t, w.configFile, content)
	harness.Must(t, w.exporters["configured"].Cmd.Process.Signal(syscall.SIGHUP))
}
