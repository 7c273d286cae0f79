// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// alertmanagerPort is the port of Alertmanager, if it is free.
const alertmanagerPort = 9093

// alertmanager is the running Alertmanager, and who gets its notifications: the demo.
type alertmanager struct {
	process *process
	address string
	inbox   *inbox
}

// url is where its web pages are.
func (a *alertmanager) url() string { return "http://" + a.address }

// startAlertmanager starts Alertmanager and waits until it answers.
func startAlertmanager(ctx context.Context, binary, dir string) (*alertmanager, error) {
	box, err := openInbox(ctx)
	if err != nil {
		return nil, err
	}
	p, address, err := startAlertmanagerFor(ctx, binary, dir, box.url)
	if err != nil {
		return nil, errors.Join(err, box.close())
	}
	return &alertmanager{p, address, box}, nil
}

// startAlertmanagerFor starts Alertmanager with this URL for its notifications.
func startAlertmanagerFor(ctx context.Context, binary, dir, webhook string) (*process, string, error) {
	content, err := alertmanagerConfig(webhook)
	if err != nil {
		return nil, "", fmt.Errorf("make the configuration of Alertmanager: %w", err)
	}
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, content, 0o600); err != nil {
		return nil, "", fmt.Errorf("write the configuration of Alertmanager: %w", err)
	}
	return startServer(ctx, alertmanagerPort, "/-/ready", func(address string) (*process, error) {
		return startProcess("alertmanager", dir, binary,
			"--config.file="+config,
			"--storage.path="+filepath.Join(dir, "alertmanager-data"),
			"--web.listen-address="+address,
			"--cluster.listen-address=", // It is the only one.
		)
	})
}

// alertmanagerConfig is the example that goes with the rules, with all notifications going to one URL, and soon.
func alertmanagerConfig(webhook string) ([]byte, error) {
	example, err := alerts.Alertmanager(nil)
	if err != nil {
		return nil, err
	}
	type receiver struct {
		Name     string           `yaml:"name"`
		Webhooks []map[string]any `yaml:"webhook_configs"`
	}
	var config struct {
		Route     map[string]any `yaml:"route"`
		Receivers []receiver     `yaml:"receivers"`
		Rest      map[string]any `yaml:",inline"`
	}
	if err := yaml.Unmarshal(example.Content, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", example.Name, err)
	}
	// As long as Prometheus takes to evaluate all rules once, so that a cause is known before its symptoms are sent.
	config.Route["group_wait"] = "5s"
	config.Route["group_interval"] = "10s"
	for i, r := range config.Receivers {
		config.Receivers[i] = receiver{r.Name, []map[string]any{{"url": webhook, "send_resolved": true}}}
	}
	return yaml.Marshal(config)
}

// stop ends Alertmanager, and then takes no more notifications.
func (a *alertmanager) stop() error {
	return errors.Join(a.process.kill(), a.inbox.close())
}
