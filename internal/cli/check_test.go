// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// A usage error is no verdict: its exit code is none of theirs.
func TestCheck_Usage(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // One line each.
	}{
		{[]string{"--nonsense"}, "unknown long flag '--nonsense', try --help"},
		{[]string{"--web.telemetry-path=/x"}, "unknown long flag '--web.telemetry-path', try --help"},
		{[]string{"--collector.raft"}, "unknown long flag '--collector.raft', try --help"},
		{[]string{"--output=xml"}, "enum value must be one of text,json, got 'xml', try --help"},
		{[]string{"--timeout=soon"}, `time: invalid duration "soon", try --help`},
		{[]string{"--wait=1m"}, "--wait: there is nothing to wait for without --safe-to-stop"},
		{[]string{"--timeout=0s", "--wait=-1s", "--consul.server=ftp://x", "--probe.timeout=0s"}, strings.Join([]string{
			`--consul.server: the scheme is "ftp"; want http, https or unix`,
			"--probe.timeout: 0s is not above 0",
			"--timeout: 0s is not above 0",
			"--wait: -1s is less than 0",
		}, "\n")},
	} {
		want := ""
		for line := range strings.SplitSeq(tc.want, "\n") {
			want += "consul_cluster_exporter: error: " + line + "\n"
		}
		code, stdout, stderr := harness.RunProgram(t, append([]string{"check"}, tc.args...)...)
		if code != cli.ExitUsage || stdout != "" || stderr != want {
			t.Errorf("%q: exit code %d, printed %q and\n%s\nwant exit code %d and only\n%s",
				tc.args, code, stdout, stderr, cli.ExitUsage, want)
		}
	}
}
