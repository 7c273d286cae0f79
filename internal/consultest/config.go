// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// config returns the agent's whole configuration: the deviations from Consul's defaults and what this package sets,
// with Options.Config, then Options.AgentConfig, and then more merged over it.
func (c *Cluster) config(a *Agent, more ...map[string]any) (map[string]any, error) {
	config, err := deviate(nil, c.opts.Deviations)
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", a, err)
	}
	layers := []map[string]any{c.opts.Config}
	if c.opts.AgentConfig != nil {
		layers = append(layers, c.opts.AgentConfig(a.role, a.index))
	}
	layers = append(layers, more...)
	for _, layer := range layers {
		if err := unnamed(layer); err != nil {
			return nil, fmt.Errorf("configure %s: %w", a, err)
		}
	}
	for _, layer := range slices.Insert(layers, 0, c.ownConfig(a)) {
		layer, err := plain(layer)
		if err != nil {
			return nil, fmt.Errorf("configure %s: %w", a, err)
		}
		config = merge(config, layer)
	}
	return config, nil
}

// ownConfig is what makes an agent of a cluster of these options on one host.
func (c *Cluster) ownConfig(a *Agent) map[string]any {
	ports := map[string]any{"http": PortHTTP, "https": -1}
	config := map[string]any{
		"datacenter":     c.opts.Datacenter,
		"node_name":      a.Name,
		"server":         a.Server,
		"data_dir":       a.dataDir(),
		"bind_addr":      a.Addr,
		"client_addr":    a.Addr,
		"advertise_addr": a.Addr,
		"ports":          ports,
	}
	expected, others := len(c.Servers), c.Servers
	if c.opts.Bootstrap == BootstrapAlone {
		expected, others = 1, c.Servers[:1]
		if a.Server {
			others = nil
		}
	}
	if a.Server {
		config["bootstrap_expect"] = expected
	}
	var join []string
	for _, server := range others {
		if server != a { // To join itself would count as a success.
			join = append(join, server.Addr)
		}
	}
	if len(join) > 0 {
		config["retry_join"] = join
	}
	if c.opts.Socket {
		config["addresses"] = map[string]any{"http": a.Addr + " unix://" + a.Socket()}
	}
	if c.opts.GossipKey != "" {
		config["encrypt"] = c.opts.GossipKey
	}
	if c.opts.TLS {
		ports["http"], ports["https"] = -1, PortHTTPS
		ports["grpc"], ports["grpc_tls"] = -1, PortGRPCTLS
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
			"tokens":         map[string]any{"initial_management": c.ManagementToken, "agent": c.ManagementToken},
		}
	}
	return config
}

// plain returns the configuration as JSON knows it: every object a map[string]any, every number a float64.
func plain(config map[string]any) (decoded map[string]any, err error) {
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	return decoded, json.Unmarshal(text, &decoded)
}

// merge changes base: objects are merged key by key, everything else in over replaces what base has.
func merge(base, over map[string]any) map[string]any {
	if base == nil {
		base = map[string]any{}
	}
	for key, value := range over {
		if object, ok := value.(map[string]any); ok {
			inner, _ := base[key].(map[string]any) // Anything else is replaced.
			value = merge(inner, object)
		}
		base[key] = value
	}
	return base
}

// apiPort returns the scheme and port of the agent's HTTP API, according to its plain configuration: HTTPS under TLS,
// if it is on, else HTTP.
func apiPort(config map[string]any, preferTLS bool) (scheme string, port int, err error) {
	ports, _ := config["ports"].(map[string]any)
	http, _ := ports["http"].(float64)
	https, _ := ports["https"].(float64)
	switch {
	case https > 0 && (preferTLS || http <= 0):
		return "https", int(https), nil
	case http > 0:
		return "http", int(http), nil
	}
	return "", 0, errors.New("an agent needs an HTTP or HTTPS port, by which it is watched")
}
