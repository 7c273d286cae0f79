// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package redact keeps passwords in URLs out of what people read.
package redact

import "regexp"

var (
	// withScheme is the part of a URL that may hold user and password. A password that should have been escaped may have
	// any character in it, so it ends at the last @ of all.
	withScheme = regexp.MustCompile(`(?s)://.*@`)
	// withoutScheme is the same of user:password@host.
	withoutScheme = regexp.MustCompile(`(?s)[^\s"'=(]*:\S.*@`)
)

// Text replaces what may be a user and a password of a URL, however malformed, in a text that quotes what someone has
// written. Mostly that is nothing, and the text comes back as it is.
func Text(text string) string {
	if withScheme.MatchString(text) {
		return withScheme.ReplaceAllLiteralString(text, "://<redacted>@")
	}
	return withoutScheme.ReplaceAllLiteralString(text, "<redacted>@")
}
