// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package dashboards has the Grafana dashboards that go with the exporter.
//
// The package generator writes the files in this folder, so that they can be copied or provisioned as they are; see
// docs/dashboards.md for that.
package dashboards

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed *.json
var embedded embed.FS

// File is the file of a dashboard.
type File struct {
	// Name is without a folder, such as raft.json.
	Name    string
	Content []byte
}

// Files returns the dashboards' files.
func Files() ([]File, error) {
	names, err := fs.Glob(embedded, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list the dashboards: %w", err)
	}
	var files []File
	for _, name := range names {
		content, err := embedded.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the dashboard: %w", err)
		}
		files = append(files, File{name, content})
	}
	return files, nil
}
