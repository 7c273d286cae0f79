// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// writeScript writes a program that is a shell script.
func writeScript(t *testing.T, path, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no shell scripts")
	}
	must.Do(t, os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
}

// A program on PATH is used if its version is good enough, and otherwise the demo says why it is not.
func TestNeed_Find(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	for _, variable := range []string{"LocalAppData", "HOME", "XDG_CACHE_HOME"} { // Nothing is built.
		t.Setenv(variable, cache)
	}
	t.Setenv("PATH", dir)
	file := filepath.Join(dir, "consul")
	const build = "is built first, which takes 6 to 7 minutes once"
	unfit := build + "; " + file + " on PATH "
	for printed, want := range map[string]string{
		"echo Consul v1.13.0":                         file + " 1.13.0 from PATH",
		"echo Consul v1.22.5-dev; echo Revision":      file + " 1.22.5-dev from PATH",
		"echo consul, version 2.0.1 '(branch: )' >&2": file + " 2.0.1 from PATH",
		"echo Consul v1.12.9":                         unfit + "is 1.12.9, older than 1.13",
		"echo Consul v0.22.9":                         unfit + "is 0.22.9, older than 1.13",
		"echo Consul v1.22.5+ent":                     unfit + "is 1.22.5+ent, which needs a license",
		"echo Hello; echo Consul v1.22.5":             unfit + `does not tell its version: "Hello"`,
		"echo Consul v1.22.5; exit 3":                 unfit + "does not tell its version: exit status 3",
		"":                                            build,
	} {
		must.Do(t, os.RemoveAll(file))
		if printed != "" {
			writeScript(t, file, printed)
		}
		n := need{Tool: must.Get(toolbox.Find("consul"))(t)}
		if err := n.find(t.Context(), 1, 13); err != nil || n.origin != want || n.path != "" != (n.origin[0] == '/') {
			t.Errorf("with a consul that does %q: %q, %q, %v; want %q", printed, n.path, n.origin, err, want)
		}
	}
}

// withoutTools returns the environment of a demo that finds nothing built before. Instead of building Alertmanager or
// Prometheus, its command go runs a shell script.
func withoutTools(t *testing.T, script string) (env []string) {
	t.Helper()
	bin := t.TempDir()
	writeScript(t, filepath.Join(bin, "go"), fmt.Sprintf(`
for program; do :; done # The last argument.
case $program in
*/cmd/prometheus | */cmd/alertmanager) %s ;;
*) exec %q "$@" ;;
esac`, script, must.Get(exec.LookPath("go"))(t)))
	goCache := must.Get(exec.CommandContext(t.Context(), "go", "env", "GOCACHE").Output())(t)
	return []string{
		"PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH"), "GOCACHE=" + strings.TrimSpace(string(goCache)),
		"XDG_CACHE_HOME=" + t.TempDir(), prometheusVar + "=", toolVars["alertmanager"] + "=",
	}
}

// The demo shows the cluster before it builds Alertmanager and Prometheus. They join when they are built.
func TestDemo_Builds(t *testing.T) {
	t.Parallel()
	built := filepath.Join(t.TempDir(), "built") // Has them once they are built.
	d := startDemo(t, withoutTools(t, fmt.Sprintf(`
  while ! [ -e %q ]; do sleep 0.1; done
  while [ "$1" != -o ]; do shift; done
  cp %q/"${program##*/}" "$2"`, built, built))...)
	at := d.waitFor(t, 0, `alertmanager is built while you look at the cluster, which takes 1 minute once .*`+
		`healthy 3 of 3 voters answer.* demo alertmanager and prometheus will join when built`)
	at = d.waitFor(t, at, `:\d\d healthy 3 of 3 voters answer`)
	if strings.Contains(d.output(), "What has joined") {
		t.Error("Prometheus has joined before it is built")
	}
	must.Do(t, os.Mkdir(built+".part", 0o700)) // It becomes complete at once.
	for _, name := range []string{"alertmanager", "prometheus"} {
		must.Do(t, os.Symlink(must.Get(toolbox.Path(name))(t), filepath.Join(built+".part", name)))
	}
	must.Do(t, os.Rename(built+".part", built))
	d.waitFor(t, at, "What has joined Alertmanager .* Prometheus .*"+ready)
	processes := d.processes(t)
	must.Do(t, d.cmd.Process.Signal(os.Interrupt))
	d.expectExit(t, 0, "", processes)
}

// If Prometheus cannot be built or started, the demo says why and goes on.
func TestDemo_GoesOn(t *testing.T) {
	t.Parallel()
	env := append(withoutTools(t, `echo "no such host" >&2; exit 1`), durationVar+"=2")
	alertmanager := toolVars["alertmanager"] + "=" + must.Get(toolbox.Path("alertmanager"))(t)
	for _, tc := range []struct {
		env  []string
		want string
	}{
		{nil, `exit status 1; no such host; tools: build alertmanager v\S+: exit status 1`},
		{
			[]string{prometheusVar + "=" + os.Args[0], alertmanager},
			"Prometheus ended with exit status 1; its last line: demo: error: the demo takes no arguments",
		},
	} {
		d := startDemo(t, append(env, tc.env...)...)
		d.waitFor(t, 0, `:\d\d demo Prometheus and Alertmanager cannot join: `+tc.want)
		d.waitFor(t, 0, `:\d\d healthy 3 of 3 voters answer`)
		d.expectExit(t, 0, "", nil)
	}
}
