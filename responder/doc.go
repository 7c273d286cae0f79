// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package responder lets chosen alerts trigger chosen actions on a Consul cluster, when the cluster can afford them.
//
// Alertmanager delivers alerts to POST /alerts (server.go, webhook.go). They wait in a queue (queue.go) and are decided
// one at a time (decide.go). The first rule that matches and whose action applies is chosen (rule.go), unless its
// cooldown or a limit forbids it (ledger.go). Then the guards decide on a fresh snapshot of the cluster (view.go,
// guard.go): unknown means no. What is refused is decided on again for as long as the rule's window. Each decision is
// written to the history with its reasons, and each action before it begins and after it ends (history.go).
//
// A fault leads to at most one action: it is identified by the alert's labels and start, and the actions are remembered
// across restarts, apart from the history (actionsfile.go). An action that has begun counts as made, however it ended,
// and a program that outlives the responder is waited for (survivor.go).
package responder
