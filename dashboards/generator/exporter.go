// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package generator

func exporter() dashboard {
	failing := "consul_exporter_collector_success{SEL} == bool 0 and consul_exporter_collector_supported{SEL} == 1"
	return dashboard{
		name:  "exporter",
		title: "Consul exporter",
		about: "Whether the exporter itself works: what it could not find out, how long it took, what it asked of Consul.",
		rows: []row{
			{"What is wrong", []panel{
				{
					kind: stat, title: "Exporters", width: 3, alerts: "ConsulExporterDown ConsulExporterMissing", unit: "percentunit",
					whole: true, noValue: "none is scraped", steps: []step{{lowest, red}, {0.0001, orange}, {1, green}},
					mappings: []object{either("down", "up")},
					about: "Whether Prometheus reaches the exporters; in part is a percentage. While one is down, nothing that only " +
						"it knows is known.",
					expr: "avg by (CLUSTER) (up{SEL})",
				},
				{
					kind: stat, title: "Agents that are asked", width: 3, alerts: "ConsulAgentUnreachable",
					unit: "percentunit", whole: true,
					steps: []step{{lowest, red}, {0.0001, orange}, {1, green}}, mappings: []object{either("down", "up")},
					about: "Whether the agents answer that exporters ask; in part is a percentage. Ports and Raft are still watched " +
						"while one does not.",
					expr: "avg by (CLUSTER) (consul_up{SEL})",
				},
				{
					kind: stat, title: "Longest scrape", width: 3, alerts: "ConsulScrapeSlow", unit: "s", noValue: "none is scraped",
					steps: badFromTwo(4, 8),
					about: "How long the slowest exporter took, as Prometheus measured it. With a server that hangs it is " +
						"--probe.timeout, 3 s by default.",
					expr: "max by (CLUSTER) (scrape_duration_seconds{SEL})",
				},
				{
					kind: stat, title: "Collectors that fail", width: 3, alerts: "ConsulCollectorFails ConsulExporterImpaired",
					steps: badFrom(1),
					about: "Collectors of all exporters that could not find out all they are for, but may and can. Some of their " +
						"metrics are missing. The second alert says that the exporter itself is to blame.",
					expr: orFor("sum by (CLUSTER) ("+failing+")",
						"0 * count by (CLUSTER) (consul_exporter_collector_success{SEL})"),
				},
				{
					kind: stat, title: "The token may read", alerts: "ConsulResultsFiltered ConsulCollectorFails",
					steps: warningFrom(1), mappings: []object{mapped([]entry{{"0", "all", green}, {"1", "in part", orange}})},
					about: "Whether Consul refused something, or left something out of its answers, because the token may not read " +
						"it. What is missing has no metrics and no alerts.",
					expr: tokenTooWeak,
				},
				{
					kind: stat, title: "Configuration file", alerts: "ConsulConfigReloadFailed", steps: goodFrom(1),
					mappings: []object{either("not loaded", "loaded")},
					about: "Whether the configuration file could be loaded the last time it was tried. Not available without " +
						"--config.file.",
					optional: true, expr: "min by (CLUSTER) (consul_exporter_config_last_reload_successful{SEL})",
				},
				{
					kind: stat, title: "Own certificates expire in", alerts: "ConsulExporterCertificateExpires", unit: "s",
					steps: []step{{lowest, red}, {0, orange}, {7 * day, green}},
					about: "When the first certificate expires that an exporter shows to Consul, or the authority that it " +
						"trusts. Not available without files for TLS.",
					optional: true,
					expr:     "(min by (CLUSTER) (consul_exporter_certificate_expiry_timestamp_seconds{SEL}) - time())",
				},
				collectorsTable(12, 11),
				exportersTable(12, 11),
			}},
			{"Scrapes", []panel{
				{
					title: "Duration of scrapes", alerts: "ConsulScrapeSlow", unit: "s",
					about: "As Prometheus measured it, by exporter. Near the scrape's timeout metrics begin to be missing.",
					expr:  "max by (instance) (scrape_duration_seconds{SEL})",
				},
				{
					title: "Duration by collector", manySeries: true, alerts: "ConsulScrapeSlow", unit: "s",
					about: "How long each collector took, on the slowest exporter. They run at the same time.",
					expr:  "max by (collector) (consul_exporter_collector_duration_seconds{SEL})",
				},
				{
					title: "Scrapes", alerts: "ConsulScrapeSlow", unit: "ops", colors: map[string]string{"at their deadline": red},
					about: "Scrapes per second of all exporters; those that were served from the snapshot of another one at the " +
						"same time; and those that reached their deadline, of which there should be none.",
					queries: []query{
						{"sum(rate(consul_exporter_scrapes_total{SEL}[$__rate_interval]))", "all"},
						{"sum(rate(consul_exporter_scrapes_shared_total{SEL}[$__rate_interval]))", "shared"},
						{"sum(rate(consul_exporter_scrape_timeouts_total{SEL}[$__rate_interval]))", "at their deadline"},
					},
				},
			}},
			{"What the exporter itself lacks", []panel{
				{
					kind: stat, title: "Files not read again", width: 4, alerts: "ConsulExporterImpaired", steps: warningFrom(1),
					about: "Tokens, keys and certificates that the exporter could not read again. It goes on with what they were " +
						"before.",
					expr: "sum by (CLUSTER) (consul_exporter_unreadable_files{SEL})",
				},
				{
					kind: stat, title: "State file", width: 4, alerts: "ConsulExporterImpaired",
					steps:    []step{{lowest, orange}, {1, green}},
					mappings: []object{mapped([]entry{{"0", "not written", orange}, {"1", "written", green}})},
					about: "Whether the exporter could write what it remembers across restarts. Not available without " +
						"--state.file.",
					optional: true, expr: "min by (CLUSTER) (consul_exporter_state_file_ok{SEL})",
				},
				{
					title: "Faults of its own", width: 16, height: 4, alerts: "ConsulExporterImpaired", unit: "ops",
					about: "Probes and requests per second that could not be made for want of file descriptors, memory, permission " +
						"or a local address. They say nothing about Consul. There should be none.",
					expr: "sum by (instance, kind) (rate(consul_exporter_own_faults_total{SEL}[$__rate_interval]))",
				},
				notProbedTable(14, 7),
				{
					kind: table, title: "Agents, one by one", width: 10, height: 7, alerts: "ConsulAgentUnreachable",
					about:    "With several --consul.server, those that each exporter asked last. Not available with one.",
					optional: true, expr: "min by (CLUSTER, instance, agent) (consul_exporter_agent_up{SEL})",
					transformations: []object{
						sorted("agent", false), sorted("Value", false), columns("instance=Exporter", "agent", "Value=Answers"),
					},
					overrides: []object{
						override("Answers", cell, colored(goodFrom(1)), shown(either("no", "yes"), absent)),
						override("Exporter", noValue(notAvailable)), override("Agent", noValue("")),
					},
				},
			}},
			{"Requests to Consul", []panel{
				{
					title: "Requests by endpoint", width: 12, unit: "reqps", stacked: true, manySeries: true,
					about: "Requests per second to Consul's HTTP API, of all exporters. Their number does not depend on how many " +
						"services there are.",
					expr: "sum by (endpoint) (rate(consul_exporter_consul_requests_total{SEL}[$__rate_interval]))",
				},
				{
					title: "Requests by answer", width: 4, alerts: "ConsulCollectorFails ConsulAgentUnreachable", unit: "reqps",
					stacked: true, colors: map[string]string{"200": green, "error": red},
					about: "The same by the status of the answer. 403: the token may not. 404: this version or edition has no such " +
						"thing. 429: Consul's limits. 500 and error: the agent has no leader, or does not answer.",
					expr: "sum by (code) (rate(consul_exporter_consul_requests_total{SEL}[$__rate_interval]))",
				},
				{
					title: "Age of answers", unit: "s", manySeries: true,
					about: "How long before each query the server that answered it had heard of the leader. What grows is the age " +
						"of what is shown about services and nodes.",
					optional: true, expr: "max by (endpoint) (consul_exporter_query_last_contact_seconds{SEL})",
				},
			}},
			{"Series", []panel{
				{
					title: "Series of the catalog", alerts: "ConsulCatalogTooLarge", unit: "short", noValue: notAvailable,
					about: "Series that the catalog has, and the limit above which only its totals are exported.",
					queries: []query{
						{"max by (instance) (consul_exporter_catalog_series{SEL})", "{{instance}}"},
						{optional("min(consul_exporter_catalog_series_limit{SEL})", "instance"), "limit"},
					},
					overrides: []object{limitLine("limit", orange)},
				},
				{
					title: "Samples in a scrape", unit: "short",
					about: "Series that Prometheus got from each exporter at each scrape.",
					expr:  "max by (instance) (scrape_samples_scraped{SEL})",
				},
				{
					title: "Dropped series", unit: "ops", manySeries: true,
					about: "Series per second that were dropped because another one had the same labels, by collector. There should " +
						"be none.",
					expr: "sum by (collector) (rate(consul_exporter_dropped_series_total{SEL}[$__rate_interval]))",
				},
			}},
			{"Process", []panel{
				{
					title: "Processor time", width: 6, height: 7, unit: "percentunit",
					about: "Processors that each exporter keeps busy.",
					expr:  "max by (instance) (rate(process_cpu_seconds_total{SEL}[$__rate_interval]))",
				},
				{
					title: "Memory", width: 6, height: 7, unit: "bytes",
					about: "Memory of each exporter. It follows the size of the catalog.",
					expr:  "max by (instance) (process_resident_memory_bytes{SEL})",
				},
				{
					title: "Open files", width: 6, height: 7, unit: "short", whole: true,
					about: "Open files of each exporter, sockets included. It goes back to a few after each scrape.",
					expr:  "max by (instance) (process_open_fds{SEL})",
				},
				{
					title: "Goroutines", width: 6, height: 7, unit: "short", whole: true,
					about: "Goroutines of each exporter. It goes back to a few after each scrape.",
					expr:  "max by (instance) (go_goroutines{SEL})",
				},
			}},
		},
	}
}

// tokenTooWeak is 1 where Consul does not tell the exporter all. What Consul does not have is no failure.
const tokenTooWeak = `max by (CLUSTER) (
  consul_exporter_query_results_filtered_by_acls{SEL}
    or
  (consul_exporter_collector_supported{SEL} + consul_exporter_collector_success{SEL} == bool 0)
)`

func collectorsTable(width, height int) panel {
	const (
		success = "min by (collector) (consul_exporter_collector_success{SEL})"
		// unable is what Consul does not have, or does not let the exporter read: 0 for both.
		unable = "min by (collector) (consul_exporter_collector_supported{SEL}) == 0"
	)
	p := figuresPanel(panel{
		title: "Collectors", width: width, height: height, alerts: "ConsulCollectorFails",
		about: "Of the exporter that is worst off. \"refused\": the token may not read what the collector reads. " +
			"\"not there\": this version or edition of Consul does not have it, as the license outside Enterprise. The " +
			"exporter's log says why one fails.",
	}, figures{"collector", []column{
		{
			// What is refused and should not be is between what fails and what works.
			title: "State", steps: []step{{lowest, red}, {0.5, orange}, {1, green}, {2, gray}},
			mappings: []object{mapped([]entry{
				{"0", "fails", red}, {"0.5", "refused", orange}, {"1", "works", green}, {"2", "not there", gray},
			})},
			expr: "(" + unable + " and " + success + " == 1) + 2 or (" + unable + ") + 0.5 or " + success,
		},
		{
			title: "Took", unit: "s", steps: quiet(badFromTwo(2, 5)),
			expr: "max by (collector) (consul_exporter_collector_duration_seconds{SEL})",
		},
		{
			title: "Dropped series", steps: quiet(badFrom(1)),
			expr: "sum by (collector) (increase(consul_exporter_dropped_series_total{SEL}[$__range]))",
		},
	}}, "Collector")
	p.transformations = append(p.transformations, sorted("State", false)) // What fails comes first.
	return p
}

// notProbedTable lists the ports that an exporter could not probe.
func notProbedTable(width, height int) panel {
	return panel{
		kind: table, title: "Ports that were not probed", width: width, height: height,
		alerts: "ConsulExporterBlind ConsulExporterImpaired",
		about: "Ports of which nothing is known, because the exporter could not ask: what it needs is missing, or the " +
			"scrape's time was up.",
		expr: orElse(
			"max by (CLUSTER, instance, server, port, protocol, transport, reason) (consul_port_probe_skipped{SEL})",
			label(label("0 * count(consul_port_up{SEL})", "server", "none"), "reason", "–"),
		),
		transformations: []object{
			sorted("server", false),
			labelColumns("server", "port", "protocol", "transport", "reason", "instance=Exporter"),
		},
	}
}

func exportersTable(width, height int) panel {
	return panel{
		kind: table, title: "Versions of exporters", width: width, height: height, alerts: "ConsulExporterDown",
		about: "Each exporter that is up, its version, and the Go it was built with.",
		expr:  "max by (cluster, datacenter, job, instance, version, goversion) (consul_exporter_build_info{SEL})",
		transformations: []object{
			sorted("instance", false),
			labelColumns("cluster", "datacenter", "job", "instance=Exporter", "version", "goversion=Go"),
		},
	}
}
