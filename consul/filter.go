// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consul

import (
	"net/url"
	"regexp"
	"strings"
)

// Filtered are the parameters for a filter; empty means none.
func Filtered(filter string) url.Values {
	if filter == "" {
		return nil
	}
	return url.Values{"filter": {filter}}
}

var simple = regexp.MustCompile(`^[0-9A-Za-z.:_-]+$`)

// IsSimple reports whether a text needs no care inside a filter, as addresses and most names.
func IsSimple(text string) bool { return simple.MatchString(text) }

// maxPatternBytes bounds a pattern as it is sent, so that the whole request line passes any proxy, of which many
// allow 8 KB. There is room for 200 IPv4 addresses.
const maxPatternBytes = 6 << 10

// AnyOf returns a pattern that matches these texts and no other; ok is false if it would be too long or cannot be
// written.
func AnyOf(all []string) (pattern string, ok bool) {
	quoted := make([]string, 0, len(all))
	for _, text := range all {
		if !IsSimple(text) {
			return "", false
		}
		quoted = append(quoted, regexp.QuoteMeta(text))
	}
	pattern = "^(?:" + strings.Join(quoted, "|") + ")$"
	return pattern, len(url.QueryEscape(pattern)) <= maxPatternBytes
}
