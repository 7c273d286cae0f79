// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package wording puts names and numbers into sentences.
package wording

import (
	"strconv"
	"strings"
	"time"
)

// List writes names as a sentence does, but no more than most of them.
func List(names []string, most int) string { return ListOf(names, len(names), most) }

// ListOf writes names of which there are total, some of them not in the list.
func ListOf(names []string, total, most int) string {
	shown := names[:min(len(names), most)]
	last := len(shown) - 1
	switch more := total - len(shown); {
	case last < 0:
		return ""
	case more > 0:
		return strings.Join(shown, ", ") + " and " + strconv.Itoa(more) + " more"
	case last == 0:
		return shown[0]
	default:
		return strings.Join(shown[:last], ", ") + " and " + shown[last]
	}
}

// Plural puts a number before its words.
func Plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// Around puts a text between two others, unless it is empty.
func Around(before, text, after string) string {
	if text == "" {
		return ""
	}
	return before + text + after
}

// Rounded writes a duration with no more digits than anyone needs.
func Rounded(d time.Duration) string {
	if d > 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// Capital makes the first letter a capital one. The text must not be empty, and begins with a letter of ASCII.
func Capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
