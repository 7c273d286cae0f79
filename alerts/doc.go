// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package alerts has the recording rules and alerts for Prometheus that go with the exporter.
//
// The rules are written once, as the templates in templates/, in which what an operator may want to change is a
// Setting. Pack renders them; the rule files beside this one are what it renders with the defaults, so that they can
// be copied as they are. Routing and inhibition are Alertmanager's, and are in alertmanager.example.yml.
//
// Their tests are in testdata/ and are run by promtool. Every alert has a page in docs/runbooks.
package alerts
