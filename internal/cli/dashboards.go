// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/dashboards"
	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// dashboardsFlags declares the flags of the command that writes the dashboards.
func dashboardsFlags(cmd *kingpin.CmdClause, dir *string) {
	cmd.Flag("output-dir", "Folder to write the dashboards to.").Required().StringVar(dir)
}

// writeDashboards is the command.
func writeDashboards(dir string, stdout io.Writer) error {
	ours, err := dashboards.Files()
	if err != nil {
		return err
	}
	files := make([]alerts.File, 0, len(ours))
	for _, d := range ours {
		files = append(files, alerts.File(d))
	}
	return saveFiles(dir, files, dashboardKind, stdout)
}

// maxDashboard bounds what is read of a file to see whether it is a dashboard. Ours are far smaller.
const maxDashboard = 16 << 20

// dashboardKind is the kind of files that a dashboard may replace: Grafana calls what has the same uid the same
// dashboard.
func dashboardKind(f alerts.File) ownfile.Kind {
	uid := dashboardUID(bytes.NewReader(f.Content))
	return ownfile.Recognized("this dashboard of consul_cluster_exporter", fmt.Sprintf("its uid is not %q", uid),
		func(r io.Reader) bool { return dashboardUID(r) == uid })
}

// dashboardUID reads the uid of a dashboard; it is empty if that is none.
func dashboardUID(r io.Reader) string {
	var dashboard struct {
		UID string `json:"uid"`
	}
	if err := json.NewDecoder(io.LimitReader(r, maxDashboard)).Decode(&dashboard); err != nil {
		return ""
	}
	return dashboard.UID
}
