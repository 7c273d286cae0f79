// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/dashboards"
)

// dashboardsOptions are the flags of the command that writes the dashboards.
type dashboardsOptions struct {
	outputDir string
}

// dashboardsFlags declares them.
func dashboardsFlags(cmd *kingpin.CmdClause, opts *dashboardsOptions) {
	cmd.Flag("output-dir", "Folder to write the dashboards to.").Required().StringVar(&opts.outputDir)
}

// writeDashboards is the command: it returns the exit code.
func writeDashboards(opts *dashboardsOptions, stdout, stderr io.Writer) int {
	dashboards, err := dashboards.Files()
	if err == nil {
		files := make([]alerts.File, 0, len(dashboards))
		for _, d := range dashboards {
			files = append(files, alerts.File(d))
		}
		err = saveFiles(opts.outputDir, files, stdout)
	}
	if err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}
