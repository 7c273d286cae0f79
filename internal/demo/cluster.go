// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
)

func (d *demo) startCluster(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	d.cluster, err = consultest.New(ctx, consultest.Options{
		Servers: 3,
		Clients: 1,
		Config:  map[string]any{"ui_config": map[string]any{"enabled": true}},
	})
	if err != nil {
		return fmt.Errorf("start the Consul cluster: %w", err)
	}
	// The exporter queries the first server. Breaking the leader is not to break the agent that the exporter queries.
	if err := d.cluster.TransferLeadership(ctx, d.cluster.Servers[1]); err != nil {
		return fmt.Errorf("choose a leader: %w", err)
	}
	return nil
}

// instances are those of services in every state that causes no alert: by ID the state of the check, if there is one.
var instances = map[string]string{
	"web-1": api.HealthPassing, "web-2": api.HealthPassing, "api-1": api.HealthWarning,
	"db-1": api.HealthPassing, "cache-1": api.HealthPassing, "batch-1": "",
}

func (d *demo) registerServices(ctx context.Context) error {
	const ttl = "24h" // So long that no check changes on its own.
	agent := d.cluster.Clients[0].Client().Agent()
	for id, state := range instances {
		name, _, _ := strings.Cut(id, "-")
		service := &api.AgentServiceRegistration{ID: id, Name: name, Tags: []string{"demo"}}
		if state != "" {
			service.Check = &api.AgentServiceCheck{CheckID: id + "-check", TTL: ttl, Status: state}
		}
		if err := agent.ServiceRegisterOpts(service, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
			return fmt.Errorf("register the service %s: %w", id, err)
		}
	}
	check := &api.AgentCheckRegistration{ID: "disk", Name: "disk space"}
	check.TTL, check.Status = ttl, api.HealthPassing
	if err := agent.CheckRegisterOpts(check, new(api.QueryOptions).WithContext(ctx)); err != nil {
		return fmt.Errorf("register the check of the node: %w", err)
	}
	return nil
}

// settle waits until the cluster is healthy and all of its ports are probed: servers respond on some ports before they
// have the certificates for others. If that takes too long, the demo shows what there is.
func (d *demo) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		var out bytes.Buffer
		if d.check(ctx, &out) == nil && !bytes.Contains(out.Bytes(), []byte("not asked")) {
			break
		}
		<-time.After(250 * time.Millisecond)
	}
	return nil
}
