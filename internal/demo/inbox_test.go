// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNotificationLines(t *testing.T) {
	t.Parallel()
	port := func(status, number string) alert {
		return alert{
			Status: status,
			Labels: map[string]string{
				"alertname": "ConsulGRPCPortDown", "severity": "warning", "cluster": "demo", "job": "consul", "server": "server-1", "port": number,
			},
			Annotations: map[string]string{"description": "Port " + number + " of server-1 does not answer.", "summary": "Unused."},
		}
	}
	quorum := alert{Status: "resolved", Labels: map[string]string{"alertname": "ConsulQuorumLost", "severity": "critical", "cluster": "demo", "job": "consul"}}
	for _, tc := range []struct {
		name string
		of   notification
		want []string
	}{
		{"firing and resolved", notification{"chat", []alert{port("firing", "8502"), port("resolved", "8503")}}, []string{
			"chat: ConsulGRPCPortDown firing: Port 8502 of server-1 does not answer.",
			"chat: ConsulGRPCPortDown resolved (port 8503, server server-1)",
		}},
		{"of the whole cluster", notification{"pager", []alert{quorum}}, []string{"pager: ConsulQuorumLost resolved"}},
		{"many", notification{"chat", []alert{port("firing", "1"), port("firing", "2"), port("firing", "3"), port("firing", "4"), port("firing", "5")}}, []string{
			"chat: ConsulGRPCPortDown firing: Port 1 of server-1 does not answer.",
			"chat: ConsulGRPCPortDown firing: Port 2 of server-1 does not answer.",
			"chat: ConsulGRPCPortDown firing: Port 3 of server-1 does not answer.",
			"chat: and 2 more like these",
		}},
	} {
		if diff := cmp.Diff(tc.want, tc.of.lines()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tc.name, diff)
		}
	}
}

// What is sent is received once, and what is no notification is refused.
func TestInbox(t *testing.T) {
	t.Parallel()
	box, err := openInbox(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	statuses := make(chan int, 2)
	post := func(body string) {
		response, err := http.Post(box.url, "application/json", strings.NewReader(body))
		if err != nil {
			statuses <- 0
			return
		}
		_ = response.Body.Close()
		statuses <- response.StatusCode
	}
	post("no JSON")
	if status := <-statuses; status != http.StatusBadRequest {
		t.Errorf("status %d for what is no notification; want 400", status)
	}
	go post(`{"receiver":"pager","alerts":[{"status":"firing","labels":{"alertname":"X"},"annotations":{"description":"It is so."}}]}`)
	select {
	case n := <-box.received:
		if diff := cmp.Diff([]string{"pager: X firing: It is so."}, n.lines()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	case <-time.After(patience):
		t.Fatal("the notification does not arrive")
	}
	if status := <-statuses; status != http.StatusOK {
		t.Errorf("status %d for a notification; want 200", status)
	}
	if err := box.close(); err != nil {
		t.Error(err)
	}
	if post("{}"); <-statuses != 0 {
		t.Error("the inbox is closed and answers")
	}
}
