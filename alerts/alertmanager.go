// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"
)

//go:embed templates/alertmanager/alertmanager.example.yml
var alertmanagerTemplate string

// Alertmanager returns the example of a configuration of Alertmanager, with the same values of settings as Pack. The
// only one that matters to it is which labels tell clusters apart.
func Alertmanager(given map[string]string) (File, error) {
	v, err := newValues(given)
	if err != nil {
		return File{}, err
	}
	groupBy := v.promQL["group-by"] // Within a flow sequence of YAML labels are written as within a clause of PromQL.
	functions := template.FuncMap{
		"groupBy":     func() string { return groupBy },
		"inhibitions": func() string { return inhibitions(groupBy) },
	}
	parsed, err := template.New("").Delims("[[", "]]").Funcs(functions).Parse(alertmanagerTemplate)
	if err != nil {
		return File{}, fmt.Errorf("parse the template: %w", err)
	}
	var b bytes.Buffer
	if err := parsed.Execute(&b, nil); err != nil {
		return File{}, fmt.Errorf("render the template: %w", err)
	}
	return File{"alertmanager.example.yml", b.Bytes()}, nil
}
