// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
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
				Help:  strings.ReplaceAll(helps[key], "{protocols}", strings.Join(texts(cluster.Protocols()), ", ")),
				Value: value.Addr().Interface(),
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

// helps are the help texts of the options that are flags, by key. They are not tags because a tag must fit on one line.
var helps = map[string]string{
	"tls.ca_file": "PEM file of the authorities that may have signed the agent's certificate; read again when it " +
		"changes. Default also from CONSUL_CACERT.",
	"tls.cert_file": "PEM file of the client certificate to show the agent; read again when it changes. Default " +
		"also from CONSUL_CLIENT_CERT.",
	"tls.key_file": "PEM file of the client certificate's key. Default also from CONSUL_CLIENT_KEY.",
	"tls.server_name": "Name to expect in the agent's certificate instead of its host. Default also from " +
		"CONSUL_TLS_SERVER_NAME.",
	"tls.insecure": "Do not verify certificates, neither the agent's nor the servers'. Default also from " +
		"CONSUL_HTTP_SSL_VERIFY=false.",
	"timeout": "How long one request to the HTTP API may take.",
	"token_file": "File with the ACL token; read again when it changes. Default also from " +
		"CONSUL_HTTP_TOKEN_FILE; without a file CONSUL_HTTP_TOKEN is used.",
	"datacenter": "Datacenter whose catalog, sessions and KV are read. Default: the agent's own.",
	"namespace":  "Namespace of Consul Enterprise to read. Default also from CONSUL_NAMESPACE.",
	"partition":  "Admin partition of Consul Enterprise to read. Default also from CONSUL_PARTITION.",
	"request_limit": "How many requests to an agent may be under way at one time, besides those that it answers " +
		"by itself; 0, or more than 8, means 8.",
	"max_response_bytes": "How large one answer of the HTTP API may be, and what is kept of it in memory. What a " +
		"larger one tells is absent, and its collector fails.",
	"rpc.tls": "Whether port 8300 is spoken to in TLS: on, off, or auto, which does as the agent says.",
	"rpc.ca_file": "PEM file of the authorities that may have signed the certificates of port 8300; read again " +
		"when it changes. Default: --consul.ca-file.",
	"rpc.cert_file": "PEM file of the client certificate to show port 8300. Default, together with the key: " +
		"--consul.cert-file.",
	"rpc.key_file": "PEM file of that certificate's key.",
	"rpc.server_name": "Name to expect in the certificates of port 8300. Default: server.<datacenter>.<domain>; " +
		"--consul.server-name does not count here.",
	"serf.encrypt_key_file": "File with the gossip encryption keys, one in a line or a JSON list as in Consul's " +
		"keyring file; the first one encrypts. Read again when it changes.",
	"dns.domain":        "Consul's domain. Default: what the agent says.",
	"probe.timeout":     "How long the probe of one port may take.",
	"probe.concurrency": "How many probes may run at one time.",
	"probe.protocols":   "Protocols to probe: {protocols}. Repeatable, or with commas. Default: all.",
	"probe.client_ports": "Whose ports for clients (HTTP, HTTPS, gRPC, DNS) are probed: auto for the agent and, where " +
		"their own configuration says that other hosts can reach them, the servers; agent for the agent alone; servers for " +
		"every server, as if all were configured like the agent; off for none.",
	"agent_only": "Export only what the agent knows of itself and of the services that are registered with it, " +
		"and ask nothing of the servers.",
	"catalog.health_summary": "Export the health, tags and meta of each service instance.",
	"catalog.instances":      "Count service instances by service and status.",
	"catalog.max_series": "How many series of the catalog there may be before all but its totals are left out; 0 " +
		"means any number.",
	"catalog.service_filter": "Regular expression of the names of services to export, matched anywhere in them. " +
		"Totals count all. Default: all.",
	"catalog.node_filter": "Regular expression of the names of nodes to export, matched anywhere in them. " +
		"Default: all.",
	"catalog.tag_filter": "Regular expression of the tags to export, matched anywhere in them. Default: all.",
	"catalog.check_filter": "Regular expression of the IDs or names of checks to export, matched anywhere in " +
		"them. Default: all.",
	"catalog.meta_filter": "Regular expression of the keys of service meta to export, matched anywhere in them.",
	"kv.prefix":           "Prefix of the keys to export, where their values are numbers. Without one there are none.",
	"kv.filter":           "Regular expression of the keys below --kv.prefix to export, matched anywhere in them.",
	"consistent.timeout":  "How long the linearizable read may take. It hangs when there is no leader.",
}
