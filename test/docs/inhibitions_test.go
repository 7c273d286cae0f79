// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// inhibitionsTable lists what holds back what.
func inhibitionsTable() string {
	var b strings.Builder
	b.WriteString("| cause | held back | of the same |\n|---|---|---|\n")
	for _, c := range alerts.Causes() {
		same := []string{"cluster"}
		if len(c.Same) > 0 {
			same = slices.Clone(c.Same)
			same[0] = strings.Replace(same[0], "alertname", "alert", 1)
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", selectorText(c.Source), selectorText(c.Target), strings.Join(same, ", "))
	}
	return b.String()
}

// selectorText says which alerts are selected.
func selectorText(s alerts.Selector) string {
	text := "any alert"
	if s.Names != nil {
		text = "`" + strings.Join(s.Names, "`, `") + "`"
	}
	for _, l := range s.Labels {
		values := strings.Join(l.Values, " or ")
		switch {
		case l.Label == "severity":
			text += ", " + values
		case values == "":
			text += ", with a " + l.Label
		default:
			text += ", " + l.Label + " " + values
		}
	}
	return text
}
