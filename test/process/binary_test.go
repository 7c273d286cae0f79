// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"debug/buildinfo"
	"debug/elf"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/test/harness"
)

// maxBinary is how large the exporter may be, in bytes.
const maxBinary = 30_000_000

// modulePath is what the paths of all packages begin with.
const modulePath = "github.com/zervigo/consul_cluster_exporter"

// What `make build` builds needs no library, names no folder, and is small.
func TestBinary(t *testing.T) {
	t.Parallel()
	binary := harness.BuildExporter(t)
	if size := must.Get(os.Stat(binary))(t).Size(); size > maxBinary {
		t.Errorf("the exporter has %d bytes; want at most %d", size, maxBinary)
	}
	built := must.Get(buildinfo.ReadFile(binary))(t)
	for _, want := range []debug.BuildSetting{{Key: "CGO_ENABLED", Value: "0"}, {Key: "-trimpath", Value: "true"}} {
		if !slices.Contains(built.Settings, want) {
			t.Errorf("it is built with %v; want %v", built.Settings, want)
		}
	}
	if runtime.GOOS != "linux" {
		return // Only Linux's programs are ELF, and only there they can be static.
	}
	program := must.Get(elf.Open(binary))(t)
	defer program.Close()
	if libraries, err := program.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("it needs the libraries %q (%v); want none", libraries, err)
	}
}

// BenchmarkStart measures how long the exporter takes from its start until it listens, and how much memory it has
// resident then and, after the last start, when it has been idle for some seconds. There is no Consul.
func BenchmarkStart(b *testing.B) {
	binary := harness.BuildExporter(b)
	var e *harness.Exporter
	for b.Loop() {
		if e != nil {
			b.StopTimer()
			must.Do(b, e.Stop())
			b.StartTimer()
		}
		e = harness.Launch(b, binary, nil, "--consul.server=http://127.0.0.1:1")
	}
	b.ReportMetric(residentMB(b, e), "started-MB")
	time.Sleep(5 * time.Second) //nolint:forbidigo // Idling is what is measured.
	b.ReportMetric(residentMB(b, e), "idle-MB")
	must.Do(b, e.Stop())
}

// residentMB is the memory that a process has resident, in units of 1,000,000 bytes.
func residentMB(tb testing.TB, e *harness.Exporter) float64 {
	tb.Helper()
	process := must.Get(procfs.NewProc(e.Cmd.Process.Pid))(tb)
	return float64(must.Get(process.Stat())(tb).ResidentMemory()) / 1e6
}

// The builder of the image gets every package that the exporter consists of.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	const ours = "{{if .Module}}{{if .Module.Main}}{{.ImportPath}}{{end}}{{end}}"
	out := must.Get(exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", ours, ".").Output())(t)
	lines := strings.Split(string(must.Get(os.ReadFile(".dockerignore"))(t)), "\n")
	for path := range strings.FieldsSeq(string(out)) {
		want := "!" + strings.TrimPrefix(path, modulePath+"/")
		if path == modulePath {
			want = "!main.go"
		}
		// A folder lets its subfolders through, too.
		through := func(line string) bool { return want == line || len(line) > 1 && strings.HasPrefix(want, line+"/") }
		if !slices.ContainsFunc(lines, through) {
			t.Errorf(".dockerignore does not have the line %s", want)
		}
	}
}
