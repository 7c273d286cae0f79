// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package grafana

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
)

// Picture is one in docs/images of a dashboard.
type Picture struct {
	// Name is that of the file, without ".png", and Dashboard that of the dashboard's, without ".json".
	Name, Dashboard string
	// Rows are the titles of the rows that are open, in addition to the first one.
	Rows []string
}

// Pictures are all of them, in the order in which the scenes are played.
var Pictures = []Picture{
	{"fleet", "fleet", nil},
	{"overview-weak-token", "overview", nil},
	{"overview-healthy", "overview", []string{"What changed"}},
	{"overview-leader-down", "overview", []string{"What changed"}},
	{"ports-hung", "ports", nil},
	{"raft-quorum-lost", "raft", []string{"Quorum"}},
	{"services-down", "services", nil},
}

// Draw returns the dashboard as it is in the picture, of the last ten minutes, and a digest of what can be seen of it:
// all but the descriptions and expressions.
func (p Picture) Draw(content []byte) (drawn []byte, digest string, err error) {
	var d map[string]any
	if err := json.Unmarshal(content, &d); err != nil {
		return nil, "", fmt.Errorf("read a dashboard: %w", err)
	}
	d["time"] = map[string]any{"from": "now-10m", "to": "now"}
	d["panels"] = p.opened(d["panels"].([]any))
	drawn, err = json.Marshal(d)
	if err != nil {
		return nil, "", fmt.Errorf("write a dashboard: %w", err)
	}
	visible, err := json.Marshal(withoutText(d["panels"]))
	sum := sha256.Sum256(visible)
	return drawn, hex.EncodeToString(sum[:]), err
}

// opened are the panels of a dashboard with these rows open, and without those that are not.
func (p Picture) opened(panels []any) []any {
	var open []any
	up := 0.0 // How much higher panels are without the rows above.
	place := func(panel any) map[string]any { return panel.(map[string]any)["gridPos"].(map[string]any) }
	add := func(panel any) {
		place(panel)["y"] = place(panel)["y"].(float64) - up
		open = append(open, panel)
	}
	for _, panel := range panels {
		row := panel.(map[string]any)
		inner, _ := row["panels"].([]any)
		if len(inner) == 0 {
			add(panel)
			continue
		}
		if !slices.Contains(p.Rows, row["title"].(string)) {
			last := place(inner[len(inner)-1])
			up += last["y"].(float64) + last["h"].(float64) - place(panel)["y"].(float64)
			continue
		}
		row["collapsed"], row["panels"] = false, []any{}
		add(panel)
		for _, i := range inner {
			add(i)
		}
	}
	return open
}

// withoutText leaves out what a picture does not show.
func withoutText(v any) any {
	switch v := v.(type) {
	case []any:
		list := make([]any, 0, len(v))
		for _, e := range v {
			list = append(list, withoutText(e))
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, e := range v {
			if key != "description" && key != "expr" {
				m[key] = withoutText(e)
			}
		}
		return m
	}
	return v
}
