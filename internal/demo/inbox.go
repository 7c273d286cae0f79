// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// inbox is where Alertmanager's notifications arrive.
type inbox struct {
	server *http.Server
	url    string
	// received has each notification until somebody reads it; Alertmanager waits meanwhile.
	received chan notification
}

// openInbox listens for notifications until close.
func openInbox(ctx context.Context) (*inbox, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for notifications: %w", err)
	}
	box := &inbox{url: "http://" + listener.Addr().String(), received: make(chan notification)}
	box.server = &http.Server{Handler: http.HandlerFunc(box.receive), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = box.server.Serve(listener) }() // Until close.
	return box, nil
}

// close ends the inbox. What was not read is lost.
func (b *inbox) close() error { return b.server.Close() }

// receive takes one notification, or asks for it again later if nobody reads it.
func (b *inbox) receive(w http.ResponseWriter, r *http.Request) {
	var n notification
	if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case b.received <- n:
	case <-r.Context().Done():
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// notification is what Alertmanager sends to a webhook, version 4: all alerts of a group, of which at least one is news.
type notification struct {
	Receiver string  `json:"receiver"`
	Alerts   []alert `json:"alerts"`
}

type alert struct {
	Status      string            `json:"status"` // firing or resolved.
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// lines says what has come: a line for each alert, but not for more than a few.
func (n notification) lines() []string {
	const most = 3
	var lines []string
	for i, a := range n.Alerts {
		if i == most {
			return append(lines, fmt.Sprintf("%s: and %d more like these", n.Receiver, len(n.Alerts)-most))
		}
		lines = append(lines, n.Receiver+": "+a.line())
	}
	return lines
}

// line describes an alert that fires; of one that is resolved the description is out of date, and the labels say which it was.
func (a alert) line() string {
	name := a.Labels["alertname"]
	if a.Status == "firing" {
		return fmt.Sprintf("%s firing: %s", name, a.Annotations["description"])
	}
	return fmt.Sprintf("%s %s%s", name, a.Status, around(" (", a.subject(), ")"))
}

// subject is what the alert is about within the cluster: those labels that not all alerts have.
func (a alert) subject() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if !slices.Contains([]string{"alertname", "severity", "cluster", "job"}, name) {
			parts = append(parts, name+" "+a.Labels[name])
		}
	}
	return strings.Join(parts, ", ")
}
