// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Command consul_cluster_exporter is a Prometheus exporter for HashiCorp Consul. At every scrape it tells whether each
// server can really be talked to, what each server says about Raft and what that means for the cluster, also when the
// cluster has no leader or the agent is dead. It only ever reads from Consul; what writes is its command responder,
// which is a process of its own.
package main

import (
	"context"
	"os"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
