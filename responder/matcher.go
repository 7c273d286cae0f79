// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"fmt"
	"regexp"
	"strings"
)

// matcher is a condition on a label, written as Alertmanager's matchers are: alertname="ConsulServerHung" or
// server=~"server-[12]". Regular expressions match all of the value. A label that an alert does not have is empty.
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
	m := matcher{label: parts[1], negated: parts[2][0] == '!'}
	var ok bool
	if m.value, ok = unquote(parts[3]); !ok {
		return matcher{}, fmt.Errorf(`%q has quotes that are not around the value; within it they are written \"`, s)
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

// unquote takes off the quotes, if there are any, and what Alertmanager takes for escapes: \n, \" and \\. Any other
// backslash stands for itself, as regular expressions need it.
func unquote(s string) (value string, ok bool) {
	s, quoted := strings.CutPrefix(s, `"`)
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch next := s[i:]; {
		case strings.HasPrefix(next, `\n`):
			b.WriteByte('\n')
			i++
		case strings.HasPrefix(next, `\"`), strings.HasPrefix(next, `\\`):
			b.WriteByte(next[1])
			i++
		case next[0] == '"':
			return b.String(), quoted && next == `"`
		default:
			b.WriteByte(next[0])
		}
	}
	return b.String(), !quoted
}
