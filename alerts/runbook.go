// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import "strings"

// Runbook returns the address of an alert's runbook, as it is in the pack without settings.
func Runbook(alert string) string {
	for _, s := range settings {
		if s.Name == "runbook-url" {
			return strings.ReplaceAll(s.Default, runbookAlert, alert)
		}
	}
	return ""
}
