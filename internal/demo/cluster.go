// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/hashicorp/consul/api"
)

// checkTTL is long enough that no check changes by itself while the demo runs.
const checkTTL = "24h"

// demoService is a service to register, with one check for each instance.
type demoService struct {
	name      string
	instances int
	// status is that of the checks; "" means no checks.
	status string
	// output is what the checks say.
	output string
}

// demoServices are in all states that call for no alert.
var demoServices = []demoService{
	{name: "web", instances: 2, status: api.HealthPassing, output: "200 OK"},
	{name: "api", instances: 1, status: api.HealthWarning, output: "slow: the last answer took 1.8 s"},
	{name: "db", instances: 1, status: api.HealthPassing, output: "ready for connections"},
	{name: "cache", instances: 1, status: api.HealthPassing, output: "PONG"},
	{name: "batch", instances: 1},
}

// serviceNames returns the names of the services as words of a sentence.
func serviceNames() string {
	names := make([]string, 0, len(demoServices))
	for _, s := range demoServices {
		names = append(names, s.name)
	}
	return list(names)
}

// registerServices registers the services and a check of the node on the agent.
func registerServices(ctx context.Context, client *api.Client) error {
	for i, s := range demoServices {
		for n := range s.instances {
			id := fmt.Sprintf("%s-%d", s.name, n+1)
			if err := s.register(ctx, client, id, 8000+100*i+n); err != nil {
				return fmt.Errorf("register the service %s: %w", id, err)
			}
		}
	}
	if err := registerNodeCheck(ctx, client); err != nil {
		return fmt.Errorf("register the check of the node: %w", err)
	}
	return nil
}

// register registers one instance and brings it into its state.
func (s demoService) register(ctx context.Context, client *api.Client, id string, port int) error {
	registration := &api.AgentServiceRegistration{ID: id, Name: s.name, Port: port, Tags: []string{"demo"}}
	check := id + "-check"
	if s.status != "" {
		registration.Check = &api.AgentServiceCheck{CheckID: check, Name: s.name + " answers", TTL: checkTTL}
	}
	if err := client.Agent().ServiceRegisterOpts(registration, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
		return err
	}
	if s.status == "" {
		return nil
	}
	options := new(api.QueryOptions).WithContext(ctx)
	if err := client.Agent().UpdateTTLOpts(check, s.output, s.status, options); err != nil {
		return fmt.Errorf("set its check: %w", err)
	}
	return nil
}

// registerNodeCheck registers a check that belongs to the node and to no service.
func registerNodeCheck(ctx context.Context, client *api.Client) error {
	const id = "disk"
	options := new(api.QueryOptions).WithContext(ctx)
	registration := &api.AgentCheckRegistration{ID: id, Name: "disk space"}
	registration.TTL = checkTTL
	if err := client.Agent().CheckRegisterOpts(registration, options); err != nil {
		return err
	}
	return client.Agent().UpdateTTLOpts(id, "61 % used", api.HealthPassing, options)
}
