// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import "strings"

// Runbook returns the address of an alert's runbook, as it is in the pack without settings.
func Runbook(alert string) string {
	v, _ := newValues(nil) // The defaults are right.
	return v.runbook(alert)
}

func (v values) runbook(alert string) string {
	return strings.ReplaceAll(v.text["runbook-url"], runbookAlert, alert)
}
