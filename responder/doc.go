// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package responder lets chosen alerts trigger chosen actions on a Consul cluster, when the cluster can afford them.
//
// Alertmanager delivers alerts to POST /alerts (server.go, webhook.go). They wait in a queue, from which one at a
// time is decided on (decide.go): the first rule that matches it and whose action applies is the one for it
// (rule.go), unless the rule's cooldown or a limit is against it (ledger.go). Then the guards decide on a fresh
// snapshot of the cluster (view.go, guard.go): what cannot be found out is a no. Each decision is written to the
// history with its reasons, and each action before it begins and after it has ended (history.go).
//
// An alert leads to one action at most: deliveries are told apart by the alert's labels and when it began, and what
// the history has is remembered across restarts. An action that was begun counts as made, however it ended.
package responder
