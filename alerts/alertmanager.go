// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"bytes"
	_ "embed"
)

//go:embed alertmanager.example.yml
var alertmanagerExample []byte

// Alertmanager returns the example of a configuration of Alertmanager, with the same values of settings as Pack. The only one that
// matters to it is which labels tell clusters apart.
func Alertmanager(given map[string]string) (File, error) {
	v, err := newValues(given)
	if err != nil {
		return File{}, err
	}
	defaults, err := newValues(nil)
	if err != nil {
		return File{}, err
	}
	// Within a flow sequence of YAML labels are written as within a clause of PromQL.
	labels := func(v values) []byte { return []byte(v.promQL["group-by"]) }
	return File{"alertmanager.example.yml", bytes.ReplaceAll(alertmanagerExample, labels(defaults), labels(v))}, nil
}
