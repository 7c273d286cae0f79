// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Package wording puts names and numbers into sentences.
package wording

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxListed is how many names a sentence has room for.
const maxListed = 8

// Names returns the names of those elements that are to be named.
func Names[T any](all []T, name func(T) (name string, named bool)) []string {
	var names []string
	for _, element := range all {
		if name, named := name(element); named {
			names = append(names, name)
		}
	}
	return names
}

// List writes names as a sentence does, but not more of them than it has room for.
func List(names []string) string { return ListOf(names, len(names)) }

// ListOf is List for names of which there are total, some of them not in the list.
func ListOf(names []string, total int) string {
	shown := names[:min(len(names), maxListed)]
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
func Plural(n int, one, many string) string { return strconv.Itoa(n) + " " + Word(n, one, many) }

// Word returns the words that go with a number.
func Word(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// Prefixed puts a text after another one, unless it is empty.
func Prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// Join joins texts, except empty ones.
func Join(separator string, texts ...string) string {
	texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
	return strings.Join(texts, separator)
}

// Milliseconds writes how long something took, without the unit, with two digits or more. What took no time at all is
// 0.
func Milliseconds(seconds float64) string {
	ms, digits := seconds*1000, 0
	if ms > 0 && ms < 9.95 {
		digits = 1
	}
	return strconv.FormatFloat(ms, 'f', digits, 64)
}

// Rounded writes a duration with no more digits than anyone needs.
func Rounded(d time.Duration) string {
	if d > 10*time.Second {
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

// Since writes a time as one would on the day of now, after a word for it; empty if it is not known.
func Since(t, now time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case now.Sub(t) < 24*time.Hour:
		return t.Format(" since 15:04 MST")
	default:
		return t.Format(" since 2 January 15:04 MST")
	}
}

// If is a text if a condition holds, and empty if not.
func If(condition bool, format string, args ...any) string {
	if !condition {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// Capital makes the first letter a capital one. The text must not be empty, and begins with a letter of ASCII.
func Capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// WithExample adds an example of a good value to an error about a bad one, unless there is none or the text has what to
// want already.
func WithExample(err error, example string) error {
	text := err.Error()
	has := func(words string) bool { return strings.Contains(text, words) }
	if example == "" || slices.ContainsFunc([]string{
		"want ", "such as ", "as in ", "; there are: ",
		"did you mean ",
	}, has) {
		return err
	}
	return fmt.Errorf("%w; want for example %s", err, example)
}
