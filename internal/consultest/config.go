// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"encoding/json"
	"errors"
	"fmt"
)

// config returns the agent's whole configuration: what this package sets, with
// Options.Config and then Options.AgentConfig merged over it.
func (c *Cluster) config(a *Agent) (map[string]any, error) {
	ports := map[string]any{"grpc": PortGRPC}
	config := map[string]any{
		"datacenter":     c.opts.Datacenter,
		"node_name":      a.Name,
		"server":         a.Server,
		"data_dir":       a.dataDir,
		"bind_addr":      a.Addr,
		"client_addr":    a.Addr,
		"advertise_addr": a.Addr,
		"ports":          ports,
		"performance": map[string]any{
			// The timeouts that HashiCorp recommends for production.
			"raft_multiplier": 1,
			// A leaving agent waits this long for the last requests; the default of 5 s would only make tests slow.
			"leave_drain_time": "200ms",
		},
		"log_level":               "INFO",
		"log_json":                true,
		"disable_update_check":    true,
		"leave_on_terminate":      false,
		"skip_leave_on_interrupt": true,
		"enable_debug":            false,
		"retry_interval":          "1s",
	}
	if a.Server {
		config["bootstrap_expect"] = c.opts.Servers
	}
	switch {
	case c.opts.Bootstrap == BootstrapAlone && a.Server:
		config["bootstrap_expect"] = 1
	case c.opts.Bootstrap == BootstrapAlone && len(c.Servers) > 0:
		config["retry_join"] = []string{c.Servers[0].Addr}
	default:
		var others []string
		for _, server := range c.Servers {
			// An agent can join itself, which would count as a success.
			if server != a {
				others = append(others, server.Addr)
			}
		}
		if len(others) > 0 {
			config["retry_join"] = others
		}
	}
	if c.opts.Socket {
		config["addresses"] = map[string]any{"http": a.Addr + " unix://" + a.Socket()}
	}
	if c.opts.GossipKey != "" {
		config["encrypt"] = c.opts.GossipKey
	}
	if c.opts.TLS {
		ports["http"] = -1
		ports["https"] = PortHTTPS
		ports["grpc"] = -1
		ports["grpc_tls"] = PortGRPCTLS
		config["tls"] = map[string]any{
			"defaults": map[string]any{
				"ca_file":         c.CACert,
				"cert_file":       a.certFile,
				"key_file":        a.keyFile,
				"verify_incoming": true,
				"verify_outgoing": true,
			},
			"internal_rpc": map[string]any{"verify_server_hostname": true},
		}
	}
	if c.opts.ACL {
		config["acl"] = map[string]any{
			"enabled":        true,
			"default_policy": "deny",
			"tokens": map[string]any{
				"initial_management": c.ManagementToken,
				"agent":              c.ManagementToken,
			},
		}
	}
	config, err := plain(config)
	if err != nil {
		return nil, err
	}
	user, err := plain(c.opts.Config)
	if err != nil {
		return nil, fmt.Errorf("read Options.Config: %w", err)
	}
	config = merge(config, user)
	if c.opts.AgentConfig == nil {
		return config, nil
	}
	user, err = plain(c.opts.AgentConfig(a.role(), a.number))
	if err != nil {
		return nil, fmt.Errorf("read Options.AgentConfig: %w", err)
	}
	return merge(config, user), nil
}

// plain returns the configuration as JSON knows it: every object a map[string]any, every number a float64.
func plain(config map[string]any) (map[string]any, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode a configuration: %w", err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(text, &decoded); err != nil {
		return nil, fmt.Errorf("decode a configuration: %w", err)
	}
	return decoded, nil
}

// merge changes base: objects are merged key by key, everything else in over replaces what base has.
func merge(base, over map[string]any) map[string]any {
	if base == nil {
		base = map[string]any{}
	}
	for key, value := range over {
		object, isObject := value.(map[string]any)
		if !isObject {
			base[key] = value
			continue
		}
		// Whatever else base has here is replaced.
		inner, _ := base[key].(map[string]any)
		base[key] = merge(inner, object)
	}
	return base
}

// apiPort returns the scheme and port of the agent's HTTP API, according to its
// plain configuration: HTTPS under TLS, if it is on, else HTTP.
func apiPort(config map[string]any, preferTLS bool) (scheme string, port int, err error) {
	ports, _ := config["ports"].(map[string]any)
	number := func(name string, fallback int) int {
		if n, ok := ports[name].(float64); ok {
			return int(n)
		}
		return fallback
	}
	http, https := number("http", PortHTTP), number("https", -1)
	switch {
	case https > 0 && (preferTLS || http <= 0):
		return "https", https, nil
	case http > 0:
		return "http", http, nil
	}
	return "", 0, errors.New("an agent needs an HTTP or HTTPS port, by which it is watched")
}
