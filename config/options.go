// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
	"reflect"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/internal/strictyaml"
)

// Option is one setting of a module, as the tags of its field declare it.
type Option struct {
	// Key is the key in a configuration file, such as "probe.timeout", from the tags yaml.
	Key string
	// Flag is the flag without its dashes, from the tag flag, or "-" if there is none.
	Flag string
	// ServeOnly is whether only the exporter has the flag (",serve"), or all commands that query Consul.
	ServeOnly bool
	// Env is the variable of Consul's CLI that the flag defaults to, from the tag env. With "=false", the flag is on if
	// the variable is false.
	Env string
	// Default is the value where nothing is written, as a configuration file would have it, from the tag default.
	Default string
	// Example is a good value, for errors about bad ones: that of examples, or else Default.
	Example string
	// Help is what --help and docs/configuration.md say about the flag, from helps.
	Help string
	// Value is a pointer to the field.
	Value any
}

// Options returns the options of a module in the order of its fields.
func (m *Module) Options() []Option { return options("", reflect.ValueOf(m).Elem()) }

func options(prefix string, module reflect.Value) []Option {
	var all []Option
	for field, value := range module.Fields() {
		switch key := prefix + field.Tag.Get("yaml"); {
		case field.Tag.Get("yaml") == "-":
		case value.Kind() == reflect.Struct:
			all = append(all, options(key+".", value)...)
		default:
			flag, only, _ := strings.Cut(field.Tag.Get("flag"), ",")
			all = append(all, Option{
				Key: key, Flag: flag, ServeOnly: only == "serve", Env: field.Tag.Get("env"), Default: field.Tag.Get("default"),
				Example: cmp.Or(examples[key], field.Tag.Get("default")),
				Help:    strings.ReplaceAll(helps[key], "{protocols}", strings.Join(texts(cluster.Protocols()), ", ")),
				Value:   value.Addr().Interface(),
			})
		}
	}
	return all
}

// DefaultModule returns what a module is where nothing is written.
func DefaultModule() Module {
	var m Module
	for _, o := range m.Options() {
		if err := strictyaml.Decode([]byte(o.Default), o.Value); err != nil {
			panic(fmt.Sprintf("default of %s: %v", o.Key, err))
		}
	}
	return m
}

// examples are good values of keys without a default, or with one that is no example, by key.
var examples = map[string]string{
	"targets":                "[10.0.0.0/8]",
	"port":                   "8500",
	"tls.ca_file":            exampleCA,
	"tls.ca_path":            "a folder with " + exampleCA,
	"tls.cert_file":          exampleCertificate,
	"tls.key_file":           exampleCertificate,
	"basic_auth":             "{username: exporter, password_file: proxy.password}",
	"token_file":             "a file with the SecretID that consul acl token create prints",
	"request_limit":          "8",
	"rpc.ca_file":            exampleCA,
	"rpc.cert_file":          exampleCertificate,
	"rpc.key_file":           exampleCertificate,
	"serf.encrypt_key_file":  "a file with what consul keygen prints",
	"dns.domain":             "consul",
	"probe.protocols":        "[rpc, https]",
	"catalog.service_filter": "^web-",
	"catalog.node_filter":    "^db-",
	"catalog.tag_filter":     "^v2$",
	"catalog.check_filter":   "^serfHealth$",
	"catalog.meta_filter":    "^team$",
	"kv.filter":              "^limits/",
	"collectors":             "[raft, ports]",
	"agent_only":             "[agent, serf]",
}

const (
	exampleCA          = "consul-agent-ca.pem, as consul tls ca create writes it"
	exampleCertificate = "dc1-client-consul-0.pem with dc1-client-consul-0-key.pem, as consul tls cert create -client " +
		"writes them"
)

// exampleOf is a good value of a key, or empty.
func exampleOf(key string) string {
	for _, o := range new(Module).Options() {
		if o.Key == key {
			return o.Example
		}
	}
	return examples[key]
}

// helps are the help texts of the options that are flags, by key. They are not tags because a tag must fit on one line.
var helps = map[string]string{
	"tls.ca_file":     "PEM file of the authorities that sign the agent's certificate. Also CONSUL_CACERT.",
	"tls.cert_file":   "PEM file of the client certificate for the agent. Also CONSUL_CLIENT_CERT.",
	"tls.key_file":    "PEM file of its key. Also CONSUL_CLIENT_KEY.",
	"tls.server_name": "Name in the agent's certificate, if not its host. Also CONSUL_TLS_SERVER_NAME.",
	"tls.insecure":    "Do not verify the agent's and servers' certificates. Also CONSUL_HTTP_SSL_VERIFY=false.",
	"timeout":         "Time limit of one request to the HTTP API.",
	"token_file": "File with the ACL token, reloaded like all files when it changes. Also CONSUL_HTTP_TOKEN_FILE; " +
		"without a file, CONSUL_HTTP_TOKEN.",
	"datacenter":         "Datacenter of the catalog, sessions, and KV. Default: the agent's.",
	"namespace":          "Consul Enterprise namespace to read. Also CONSUL_NAMESPACE.",
	"partition":          "Consul Enterprise admin partition to read. Also CONSUL_PARTITION.",
	"request_limit":      "Requests to an agent at the same time; 0, or more than 8, means 8.",
	"max_response_bytes": "Size limit of one response of the HTTP API. A collector that needs a larger one fails.",
	"rpc.tls":            "Whether to use TLS on port 8300: on, off, or auto, as the agent's configuration says.",
	"rpc.ca_file":        "PEM file of the authorities for port 8300. Default: --consul.ca-file.",
	"rpc.cert_file":      "PEM file of the client certificate for port 8300. Default, with the key: --consul.cert-file.",
	"rpc.key_file":       "PEM file of its key.",
	"rpc.server_name":    "Name in the certificates of port 8300. Default: server.<datacenter>.<domain>.",
	"serf.encrypt_key_file": "File with the gossip encryption keys: one per line, or a JSON list as in Consul's " +
		"keyring file. The first one encrypts.",
	"dns.domain":        "Consul's domain. Default: the agent's.",
	"probe.timeout":     "Time limit of the probe of one port.",
	"probe.concurrency": "Probes at the same time.",
	"probe.protocols":   "Protocols to probe: {protocols}. Can be repeated, or separated by commas. Default: all.",
	"probe.client_ports": "Whose HTTP, HTTPS, gRPC, and DNS ports to probe: auto (the agent's, and those of servers " +
		"that other hosts can reach), agent, servers (all, as if configured like the agent), or off.",
	"agent_only":             "Export only what the agent knows about itself and its services, and query no server.",
	"catalog.health_summary": "Export health, tags, and meta of each service instance.",
	"catalog.instances":      "Count service instances by service and status.",
	"catalog.max_series":     "With more series than this, export only the catalog's totals; 0 is no limit.",
	"catalog.service_filter": "Services to export: a regular expression that matches anywhere in the name. Default: all.",
	"catalog.node_filter":    "Nodes to export: a regular expression, as above. Default: all.",
	"catalog.tag_filter":     "Tags to export: a regular expression, as above. Default: all.",
	"catalog.check_filter":   "IDs or names of checks to export: a regular expression, as above. Default: all.",
	"catalog.meta_filter":    "Keys of service meta to export: a regular expression that matches anywhere in them.",
	"kv.prefix":              "Prefix of the keys to export, if their values are numbers. Default: none.",
	"kv.filter":              "Keys below --kv.prefix to export: a regular expression that matches anywhere in them.",
	"consistent.timeout":     "Time limit of the linearizable read, which hangs without a leader.",
}
