// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The parts of PromQL, in the order in which they are taken out of an expression until only the names of metrics are left. promtool has
// made sure that it is PromQL. What is left and no name is found.
var (
	quoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`")
	// Label matchers and ranges; there are no quotes in them any more.
	matchers = regexp.MustCompile(`\{[^{}]*\}|\[[^\[\]]*\]`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\([a-zA-Z0-9_,\s]*\)`)
	// What is called is a function or an aggregation.
	called   = regexp.MustCompile(`\b[a-z][a-z0-9_]*\s*\(`)
	keyword  = regexp.MustCompile(`\b(?:and|or|unless|bool)\b`)
	operator = regexp.MustCompile(`[()+\-*/%^<>=!,]`)
	literal  = regexp.MustCompile(`^[0-9]+(?:\.[0-9]+)?$`)
	metric   = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)
)

// metricNames returns the names of the metrics in an expression, in order and each once.
func metricNames(expr string) ([]string, error) {
	rest := expr
	for _, part := range []*regexp.Regexp{quoted, matchers, grouping} {
		rest = part.ReplaceAllString(rest, " ")
	}
	rest = keyword.ReplaceAllString(rest, ",") // Neither the keyword nor what is before it is called.
	for _, part := range []*regexp.Regexp{called, operator} {
		rest = part.ReplaceAllString(rest, " ")
	}
	var names []string
	for word := range strings.FieldsSeq(rest) {
		switch {
		case literal.MatchString(word):
		case metric.MatchString(word):
			names = append(names, word)
		default:
			return nil, fmt.Errorf("%q is neither a number nor a name", word)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		expr string
		want []string // nil is an error.
	}{
		{"a_b", []string{"a_b"}},
		{`max by (server, port) (a:b_c:max{x=~"d|e(f)",y!="}"}) > 0.05 < 1`, []string{"a:b_c:max"}},
		{`sum without () (rate(a_total[5m])) / sum by (x) (rate(b_total[5m:1m]))`, []string{"a_total", "b_total"}},
		{"(a == bool 0) or (b unless on (x) group_left () c) and ignoring(y) d", []string{"a", "b", "c", "d"}},
		{"a and (b) or max(c) * 0 - time() % 2", []string{"a", "b", "c"}},
		{`label_replace(a, "b", "$1", "c", '(.+)[.]\'')`, []string{"a"}},
		{"a and unknown", []string{"a", "unknown"}},
		{"a offset 5m", nil},
		{"a @ 7", nil},
		{"a ä", nil},
	} {
		got, err := metricNames(tc.expr)
		if diff := cmp.Diff(tc.want, got); diff != "" || (err != nil) != (tc.want == nil) {
			t.Errorf("%s: error %v, names differ (-want +got):\n%s", tc.expr, err, diff)
		}
	}
}
