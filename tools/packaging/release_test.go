// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

//go:build release

package packaging

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blakesmith/ar"
)

// commitTime is when the release that the test makes was committed.
const commitTime = "2026-01-02T03:04:05Z"

// tagged returns a clone of the repository as it is, which has that as the tag v1.2.3.
func tagged(t *testing.T) (dir string) {
	t.Helper()
	dir = copyTree(t, func(name string, _ bool) bool { return name == "consul_cluster_exporter" })
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"remote", "add", "origin", "https://github.com/zervigo/consul_cluster_exporter.git"},
		{"add", "-A"},
		{"-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "release"},
		{"tag", "v1.2.3"},
	} {
		command(t, dir, gitEnv, "git", args...)
	}
	return dir
}

// gitEnv is without what the user or the machine has configured, and has the time of commits.
var gitEnv = []string{
	"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
	"GIT_AUTHOR_DATE=" + commitTime, "GIT_COMMITTER_DATE=" + commitTime,
}

// release makes a release of a clone, publishes nothing, and returns the folder with it.
func release(t *testing.T, dir string) string {
	t.Helper()
	goreleaser := command(t, root, nil, "go", "run", "./tools", "-path", "goreleaser")
	syft := command(t, root, nil, "go", "run", "./tools", "-path", "syft")
	env := append([]string{"PATH=" + filepath.Dir(syft) + string(os.PathListSeparator) + os.Getenv("PATH")}, gitEnv...)
	command(t, dir, env, goreleaser, "check")
	command(t, dir, env, goreleaser, "release", "--clean", "--skip=publish,announce")
	return filepath.Join(dir, "dist")
}

// wantFiles are the files of a release, except the checksums.
func wantFiles() (files []string) {
	for _, arch := range []string{"amd64", "arm64"} {
		files = append(files, "consul-cluster-exporter_1.2.3_"+arch+".deb")
		for target, suffix := range map[string]string{"linux": ".tar.gz", "darwin": ".tar.gz", "windows": ".zip"} {
			archive := "consul_cluster_exporter-1.2.3." + target + "-" + arch + suffix
			files = append(files, archive, archive+".sbom.json")
		}
	}
	slices.Sort(files)
	return files
}

// A release has all that it should, what is in there is right, and another one of the same commit has the same bytes.
func TestRelease(t *testing.T) {
	clone, other := tagged(t), t.TempDir()
	must(t, os.CopyFS(other, os.DirFS(clone)))
	dist := release(t, clone)
	sums := checksums(t, dist)
	if got := slices.Sorted(maps.Keys(sums)); !slices.Equal(got, wantFiles()) {
		t.Fatalf("the release consists of\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wantFiles(), "\n"))
	}
	for name := range sums {
		switch content := get(os.ReadFile(filepath.Join(dist, name)))(t); {
		case strings.HasSuffix(name, ".sbom.json"):
			checkSBOM(t, name, content)
		case strings.HasSuffix(name, ".zip"):
			checkArchive(t, name, unzip(t, content))
		case strings.HasSuffix(name, ".tar.gz"):
			checkArchive(t, name, untar(t, content))
		case strings.HasSuffix(name, ".deb"):
			checkDeb(t, name, content)
		}
	}
	again := checksums(t, release(t, other))
	for name, sum := range sums {
		if !strings.HasSuffix(name, ".sbom.json") && again[name] != sum { // Each SBOM has its own ID and time.
			t.Errorf("%s has other bytes the second time", name)
		}
	}
}

// checksums reads the file of checksums and compares it with the files that it lists.
func checksums(t *testing.T, dist string) map[string]string {
	t.Helper()
	sums := make(map[string]string)
	for line := range strings.Lines(string(get(os.ReadFile(filepath.Join(dist, "sha256sums.txt")))(t))) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		content := get(os.ReadFile(filepath.Join(dist, name)))(t)
		if got := fmt.Sprintf("%x", sha256.Sum256(content)); !ok || got != sum {
			t.Errorf("the checksum of %q is %s; sha256sums.txt says %s", name, got, sum)
		}
		sums[name] = sum
	}
	return sums
}

// An entry is a file of an archive.
type entry struct {
	content  []byte
	link     string // Where it points to, if it is a symbolic link.
	mode     os.FileMode
	modified time.Time
}

func untar(t *testing.T, content []byte) map[string]entry {
	t.Helper()
	unzipped := get(gzip.NewReader(bytes.NewReader(content)))(t)
	entries := make(map[string]entry)
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		must(t, err)
		content := get(io.ReadAll(files))(t)
		name, mode := strings.TrimPrefix(header.Name, "./"), header.FileInfo().Mode()
		entries[name] = entry{content, header.Linkname, mode, header.ModTime}
	}
}

func unzip(t *testing.T, content []byte) map[string]entry {
	t.Helper()
	archive := get(zip.NewReader(bytes.NewReader(content), int64(len(content))))(t)
	entries := make(map[string]entry)
	for _, f := range archive.File {
		r := get(f.Open())(t)
		content := get(io.ReadAll(r))(t)
		must(t, r.Close())
		entries[f.Name] = entry{content, "", f.Mode(), f.Modified}
	}
	return entries
}

// checkSBOM looks for a library that the exporter has.
func checkSBOM(t *testing.T, name string, content []byte) {
	t.Helper()
	var sbom struct {
		Version  string `json:"spdxVersion"`
		Packages []struct{ Name, VersionInfo string }
	}
	must(t, json.Unmarshal(content, &sbom))
	const library = "github.com/prometheus/client_golang"
	for _, p := range sbom.Packages {
		if p.Name == library && strings.HasPrefix(p.VersionInfo, "v1.") && strings.HasPrefix(sbom.Version, "SPDX-2") {
			return
		}
	}
	t.Errorf("%s has %d packages in %s, and %s is not among them", name, len(sbom.Packages), sbom.Version, library)
}

// checkArchive looks for the exporter, also under consul_exporter's name, and its documents, and runs the exporter if
// it is for this machine.
func checkArchive(t *testing.T, name string, entries map[string]entry) {
	t.Helper()
	folder := strings.TrimSuffix(strings.TrimSuffix(name, ".zip"), ".tar.gz") + "/"
	program := "consul_cluster_exporter"
	if strings.HasSuffix(name, ".zip") {
		program += ".exe"
	}
	for _, want := range []string{
		program, "LICENSE", "README.md", "CHANGELOG.md", "examples/systemd/consul_cluster_exporter.service",
		"examples/debian/consul_cluster_exporter.default",
	} {
		e, ok := entries[folder+want]
		if !ok || len(e.content) == 0 {
			t.Errorf("%s does not have %s", name, folder+want)
			continue
		}
		if got := e.modified.UTC().Format(time.RFC3339); got != commitTime {
			t.Errorf("%s: %s is of %s; want the commit's time", name, want, got)
		}
	}
	link, ok := entries[folder+"consul_exporter"]
	if isZip := strings.HasSuffix(name, ".zip"); ok == isZip || !isZip && link.link != program {
		t.Errorf("%s: consul_exporter is there: %v, a link to %q; want one to the exporter except in zip files",
			name, ok, link.link)
	}
	runProgram(t, name, entries[folder+program].content)
}

func checkDeb(t *testing.T, name string, content []byte) {
	t.Helper()
	members := make(map[string][]byte)
	for archive := ar.NewReader(bytes.NewReader(content)); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		member := get(io.ReadAll(archive))(t)
		members[strings.TrimSuffix(header.Name, "/")] = member
	}
	control, data := untar(t, members["control.tar.gz"]), untar(t, members["data.tar.gz"])
	if got := string(control["conffiles"].content); strings.TrimSpace(got) != "/etc/default/consul_cluster_exporter" {
		t.Errorf("%s: what is kept in an upgrade is %q; want the file of flags", name, got)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		file := filepath.Join(t.TempDir(), script)
		must(t, os.WriteFile(file, control[script].content, 0o755))
		command(t, ".", nil, "sh", "-n", file)
	}
	for file, mode := range map[string]os.FileMode{
		"usr/bin/consul_cluster_exporter":                    0o755,
		"lib/systemd/system/consul_cluster_exporter.service": 0o644,
		"etc/default/consul_cluster_exporter":                0o644,
		"usr/share/doc/consul-cluster-exporter/copyright":    0o644,
	} {
		if e := data[file]; len(e.content) == 0 || e.mode != mode {
			t.Errorf("%s: %s has %d bytes and mode %s; want mode %s", name, file, len(e.content), e.mode, mode)
		}
	}
	if link := data["usr/bin/consul_exporter"].link; link != "consul_cluster_exporter" {
		t.Errorf("%s: consul_exporter is a link to %q; want one to the exporter", name, link)
	}
	runProgram(t, strings.Replace(name, "_1.2.3_", "-1.2.3.linux-", 1), data["usr/bin/consul_cluster_exporter"].content)
}

// runProgram checks the version of the exporter, if it is for this machine.
func runProgram(t *testing.T, name string, content []byte) {
	t.Helper()
	if !strings.Contains(name, "."+runtime.GOOS+"-"+runtime.GOARCH+".") {
		return
	}
	file := filepath.Join(t.TempDir(), "exporter")
	must(t, os.WriteFile(file, content, 0o755))
	got := command(t, ".", nil, file, "--version")
	if !strings.Contains(got, "version 1.2.3\n  revision: ") {
		t.Errorf("the exporter of %s is %q; want version 1.2.3 of a known revision", name, got)
	}
}
