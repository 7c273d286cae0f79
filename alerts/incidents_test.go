// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"slices"
	"strings"
	"testing"
	"text/template"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

// alertmanagerExample is what these tests read of the example.
type alertmanagerExample struct {
	Route struct {
		GroupBy []string `yaml:"group_by"`
	}
	Receivers []struct {
		Name      string
		PagerDuty []struct {
			Description, Component, Group string
			Details                       map[string]string
		} `yaml:"pagerduty_configs"`
		Slack []struct {
			Title, Text, Channel string
			APIURLFile           string `yaml:"api_url_file"`
		} `yaml:"slack_configs"`
	}
}

func exampleWith(t *testing.T, settings map[string]string) (example alertmanagerExample) {
	t.Helper()
	must.Do(t, yaml.Unmarshal(must.Get(alerts.Alertmanager(settings))(t).Content, &example))
	return example
}

// details are the labels in which the alerts of one incident may differ: each with why another value is no other fault.
var details = map[string]string{
	"severity": "says how bad it is",
	"port":     "a server's ports mostly fail together", "protocol": "as the port", "transport": "as the port",
	"check":      "a node's or an instance's checks mostly fail together",
	"service_id": "is an instance of the service",
	"status":     "is what the alert is about",
	"thread":     "is of the server",
	"pool":       "LAN and WAN gossip of one cluster suffer together",
	"dc":         "is of the member",
	"root":       "is the active one",
	"collector":  "what an exporter is refused, it is mostly refused at several endpoints", "endpoint": "as the collector",
	"reason": "says why",
	"state":  "says how bad it is", "use": "an exporter's certificates mostly end together", "file": "as the use",
	"subject": "as the use",
	"limit":   "a server's limits are reached together", "direction": "says who failed whom",
	"what": "services vanish with their nodes",
}

// Each label of an alert either says what it is about, and then two alerts that differ in it are two incidents, or is a
// detail.
func TestAlertmanager_Incidents(t *testing.T) {
	t.Parallel()
	groupBy := exampleWith(t, nil).Route.GroupBy
	for _, file := range testFiles(t) {
		for _, g := range testGroups(t, file) {
			for _, at := range g.Alerts {
				for _, f := range at.Fires {
					for label := range f.Labels {
						if isDetail := details[label] != ""; isDetail == slices.Contains(groupBy, label) {
							t.Errorf("%s: the label %s of %s is grouped by, and is a detail: %v", file, label, at.Name, isDetail)
						}
					}
				}
			}
		}
	}
}

// A label by which clusters are told apart may also say what an alert is about. It is grouped by once, as Alertmanager
// wants it.
func TestAlertmanager_GroupByOnce(t *testing.T) {
	t.Parallel()
	groupBy := exampleWith(t, map[string]string{"group-by": "instance,cluster"}).Route.GroupBy
	if n := len(slices.Compact(slices.Sorted(slices.Values(groupBy)))); n != len(groupBy) {
		t.Errorf("Alertmanager groups by %v", groupBy)
	}
}

// notified is what a template of Alertmanager gets.
type notified struct {
	Status                                       string
	GroupLabels, CommonLabels, CommonAnnotations map[string]string
	Alerts                                       struct{ Firing []struct{} }
}

// The title of an incident says which cluster and what of it, by the labels that tell clusters apart.
func TestAlertmanager_Title(t *testing.T) {
	t.Parallel()
	for want, tc := range map[string]struct {
		groupBy, status string
		labels          map[string]string
		firing          int
	}{
		"Cluster production, datacenter dc1, server server-2: It is broken.": {
			labels: map[string]string{
				"cluster": "production", "datacenter": "dc1", "job": "consul", "server": "server-2", "member": "server-2",
			}, firing: 1,
		},
		"Resolved: Cluster production, service web: It is broken.": {
			status: "resolved", labels: map[string]string{"cluster": "production", "service_name": "web", "node": "n-1"},
		},
		"Cluster production: It is broken. (2 alerts)": {labels: map[string]string{"cluster": "production"}, firing: 2},
		"Environment prod, dc dc1, exporter 10.0.0.1:9107: It is broken.": {
			groupBy: "environment,dc", firing: 1,
			labels: map[string]string{"environment": "prod", "dc": "dc1", "instance": "10.0.0.1:9107"},
		},
	} {
		settings := map[string]string{}
		if tc.groupBy != "" {
			settings["group-by"] = tc.groupBy
		}
		data := notified{
			Status: tc.status, GroupLabels: map[string]string{"alertname": "ConsulBroken"}, CommonLabels: tc.labels,
			CommonAnnotations: map[string]string{"summary": "It is broken."},
		}
		data.Alerts.Firing = make([]struct{}, tc.firing)
		for _, receiver := range exampleWith(t, settings).Receivers {
			for _, p := range receiver.PagerDuty {
				expectRendered(t, p.Description, data, want)
			}
			for _, s := range receiver.Slack {
				expectRendered(t, s.Title, data, want)
			}
		}
		data.CommonAnnotations = nil // The alerts of one name may have different ones.
		want = strings.Replace(want, "It is broken.", "ConsulBroken", 1)
		expectRendered(t, exampleWith(t, settings).Receivers[0].PagerDuty[0].Description, data, want)
	}
}

func expectRendered(t *testing.T, text string, data notified, want string) {
	t.Helper()
	var b strings.Builder
	must.Do(t, must.Get(template.New("").Option("missingkey=zero").Parse(text))(t).Execute(&b, data))
	if b.String() != want {
		t.Errorf("rendered: %s; want %s", b.String(), want)
	}
}

// Those who run services have a channel of their own, and get the same messages.
func TestAlertmanager_Services(t *testing.T) {
	t.Parallel()
	receivers := exampleWith(t, nil).Receivers
	chat, services := receivers[1].Slack[0], receivers[2].Slack[0]
	if chat.Channel == services.Channel || chat.APIURLFile == services.APIURLFile {
		t.Errorf("services go to the channel %s by %s as all else", services.Channel, services.APIURLFile)
	}
	if chat.Title == "" || chat.Title != services.Title || chat.Text == "" || chat.Text != services.Text {
		t.Errorf("the message is %+v; want it to be like %+v", services, chat)
	}
}
