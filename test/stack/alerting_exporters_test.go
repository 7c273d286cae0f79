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

// exporters are faults of exporters and of what they are told to do. All watch one server, each fault as if it had a cluster of its own.
func exporters(t *testing.T, s *alertStack) []outage {
	t.Helper()
	server := consultest.Start(t, consultest.Options{Servers: 1}).Servers[0]
	consul := "--consul.server=" + server.URL()

	doubled := s.exporter(t, "doubled", consul)
	s.exporter(t, "doubled", consul)
	single := s.exporter(t, "single", consul)
	dropped := s.exporter(t, "dropped", consul)
	s.exporter(t, "large", consul, "--collector.catalog.max-series=150")
	config := filepath.Join(harness.WriteFiles(t, map[string]string{"config.yml": goodConfig}), "config.yml")
	configured := s.exporter(t, "configured", consul, "--config.file="+config)
	misled := s.exporter(t, "misled", consul)
	token := harness.Secret(t, "any-token-will-do-without-acls")
	s.exporter(t, "impaired", consul, "--consul.token-file="+token)
	var mistaken *harness.Exporter

	// replace takes an exporter from Prometheus and starts another one for its cluster.
	replace := func(e *harness.Exporter, cluster string, args ...string) *harness.Exporter {
		s.unwatch(t, e)
		return s.exporter(t, cluster, append(args, consul)...)
	}
	const extra = 50 // Services, of three series each and more.
	return []outage{
		{
			"doubled", "one of two exporters is killed",
			func() { harness.Must(t, doubled.Stop()) },
			func() { replace(doubled, "doubled") },
		},
		{
			"single", "the only exporter is killed",
			func() { harness.Must(t, single.Stop()) },
			func() { replace(single, "single") },
		},
		{
			"dropped", "service discovery drops the only exporter",
			func() { s.unwatch(t, dropped) },
			func() { s.watch(t, "dropped", dropped) },
		},
		{
			"large", "the catalog outgrows `--collector.catalog.max-series`",
			func() {
				for i := range extra {
					register(t, server, fmt.Sprintf("extra-%d", i), fmt.Sprintf("extra-%d", i))
				}
			},
			func() {
				for i := range extra {
					harness.Must(t, server.Client().Agent().ServiceDeregister(fmt.Sprintf("extra-%d", i)))
				}
			},
		},
		{
			"configured", "the exporter's configuration file is broken, and loaded",
			func() { hangUp(t, configured, config, "modules: [") },
			func() { hangUp(t, configured, config, goodConfig) },
		},
		{
			"misled", "the exporter is told to read a datacenter that there is not",
			func() { mistaken = replace(misled, "misled", "--consul.datacenter=dc9") },
			func() { replace(mistaken, "misled") },
		},
		{
			"impaired", "the exporter's token file is gone",
			func() { harness.Must(t, os.Rename(token, token+".gone")) },
			func() { harness.Must(t, os.Rename(token+".gone", token)) },
		},
	}
}

// goodConfig is a configuration file without mistakes.
const goodConfig = "modules: {m: {targets: [127.0.0.0/8]}}"

// hangUp makes an exporter load another configuration file.
func hangUp(t *testing.T, e *harness.Exporter, file, content string) {
	t.Helper()
	rewrite(t, file, content)
	harness.Must(t, e.Cmd.Process.Signal(syscall.SIGHUP))
}
