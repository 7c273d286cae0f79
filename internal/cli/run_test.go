// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	_ "embed"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/internal/cli"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

//go:embed testdata/errors.txt
var badCommands string

// Each command in testdata/errors.txt prints the errors below it, one in a line, and nothing else.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "junk": "junk\njunk", "web.yml": "tls_server_config: {nonsense: 1}",
		"config.yml": "modules: {a: {scheme: ftp, token_file: missing}}", "no_targets.yml": "modules: {a: {}}",
	} {
		must.Do(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	var off, protocols []string
	for _, c := range collector.All() {
		off = append(off, "--no-collector."+c.Name)
	}
	for _, p := range cluster.Protocols() {
		protocols = append(protocols, string(p))
	}
	placeholders := strings.NewReplacer("$DIR", dir, "$COLLECTORS_OFF", strings.Join(off, " "),
		"$PROTOCOLS", strings.Join(protocols, ", "))
	t.Setenv("CONSUL_CLUSTER_EXPORTER_WEB_LISTEN_ADDRESS", "127.0.0.1:0") // Should it run nevertheless.
	for block := range strings.SplitSeq(strings.TrimSpace(badCommands), "\n\n") {
		name, text, _ := strings.Cut(placeholders.Replace(block), "\n")
		t.Run(strings.TrimPrefix(name, "# "), func(t *testing.T) {
			var args []string
			want, wantCode := "", 1
			for line := range strings.SplitSeq(text, "\n") {
				if command, ok := strings.CutPrefix(line, "$ "); ok {
					args = append(args, strings.Fields(command)...)
				} else {
					want += "consul_cluster_exporter: error: " + line + "\n"
				}
			}
			if args[0] == "check" {
				wantCode = cli.ExitUsage // It is no verdict, so its exit code is none of theirs.
			}
			code, stdout, stderr := harness.RunProgram(t, args...)
			if code != wantCode || stdout != "" || stderr != want {
				t.Errorf("%q: exit code %d, printed %q and\n%s\nwant exit code %d and only\n%s",
					args, code, stdout, stderr, wantCode, want)
			}
		})
	}
}

// Nagios shows only standard output, and takes no other exit codes than 0 to 3.
func TestErrors_Nagios(t *testing.T) {
	for args, want := range map[string]string{
		"--nonsense": "unknown long flag '--nonsense', try --help",
		"--safe-to-stop=a": "--output: nagios is about the cluster; use the exit code of --safe-to-stop and --release" +
			"; want for example text",
		"--quiet": "--quiet: contradicts --output=nagios",
	} {
		want = "consul_cluster_exporter: error: " + want + "\n"
		code, stdout, stderr := harness.RunProgram(t, "check", "--output=nagios", args)
		if code != cli.ExitUnknown || stdout != want || stderr != "" {
			t.Errorf("%s: exit code %d, printed %q and %q; want 3 and %q", args, code, stdout, stderr, want)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	must.Do(t, os.WriteFile(path, []byte("modules: {a: {targets: [localhost]}}"), 0o600))
	for _, args := range [][]string{{"--config.check"}, {"--config.check", "--config.file=" + path}} {
		if code, stdout, stderr := harness.RunProgram(t, args...); code != 0 || stdout != "configuration is good\n" ||
			stderr != "" {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want 0 and that it is good", args, code, stdout, stderr)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	listener := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	code, _, stderr := harness.RunProgram(t, "--web.listen-address="+listener.Addr().String())
	if code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d and %q; want 1 and the reason", code, stderr)
	}
}

// The help fits on one screen, with the flags that most people need; the long help has all flags, each once.
func TestHelp(t *testing.T) {
	_, short, _ := harness.RunProgram(t, "--help")
	if lines := strings.Count(short, "\n"); lines > 45 {
		t.Errorf("the help has %d lines; want at most 45:\n%s", lines, short)
	}
	_, long, _ := harness.RunProgram(t, "--help-all")
	for _, f := range cli.App().GetCommand("serve").Model().Flags {
		name := regexp.MustCompile(`(?m)^  --(\[no-\])?` + regexp.QuoteMeta(f.Name) + `[= \n]`)
		if found := name.FindAllString(long, -1); len(found) != 1 {
			t.Errorf("the long help has --%s %d times; want it once", f.Name, len(found))
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--help", "--consul.ca-file=FILE "},
		{"--help", "check --safe-to-stop=server-2"},
		{"--help-all", "--consul.timeout=2s "},
		{"check --help", "--exporter=URL "},
		{"--version", "consul_cluster_exporter, version "},
		{"version", "consul_cluster_exporter, version "},
	} {
		code, stdout, stderr := harness.RunProgram(t, strings.Fields(tc.args)...)
		if code != 0 || !strings.Contains(stdout, tc.want) || stderr != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 0 and %q in it", tc.args, code, stdout, stderr, tc.want)
		}
	}
}

// The help of each command names the values of its flags in a word, or shows their defaults.
func TestHelpOfValues(t *testing.T) {
	unclear := regexp.MustCompile(`--[a-z.-]+=("" |[A-Z]+[.-][A-Z.-]*).*`)
	for _, args := range []string{
		"--help", "--help-all", "serve --help", "check --help", "alerts --help", "dashboards --help",
	} {
		_, stdout, _ := harness.RunProgram(t, strings.Fields(args)...)
		if found := unclear.FindAllString(stdout, -1); found != nil {
			t.Errorf("%s has %q", args, found)
		}
	}
}
