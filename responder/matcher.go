// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// matcher is a condition on a label, written as Alertmanager's matchers are: alertname="ConsulServerHung" or server=~"server-[12]". Regular
// expressions match all of the value. A label that an alert does not have is empty.
type matcher struct {
	label   string
	negated bool
	value   string
	pattern *regexp.Regexp // nil: compared with value.
}

var matcherSyntax = regexp.MustCompile(`(?s)^\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*$`)

func parseMatcher(s string) (matcher, error) {
	parts := matcherSyntax.FindStringSubmatch(s)
	if parts == nil {
		return matcher{}, fmt.Errorf(`%q is no matcher; want for example severity="critical"`, s)
	}
	m := matcher{label: parts[1], negated: parts[2][0] == '!', value: parts[3]}
	if strings.ContainsAny(m.value, `"`) {
		unquoted, err := strconv.Unquote(m.value)
		if err != nil || m.value[0] != '"' {
			return matcher{}, fmt.Errorf("%q has a value in quotes that does not end where they do, or escapes what needs no backslash", s)
		}
		m.value = unquoted
	}
	if strings.HasSuffix(parts[2], "~") {
		pattern, err := regexp.Compile(`^(?s:` + m.value + `)$`)
		if err != nil {
			return matcher{}, fmt.Errorf("%q has no good regular expression: %w", s, err)
		}
		m.pattern = pattern
	}
	return m, nil
}

func (m *matcher) matches(labels map[string]string) bool {
	value := labels[m.label]
	if m.pattern != nil {
		return m.pattern.MatchString(value) != m.negated
	}
	return (value == m.value) != m.negated
}
