// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
)

func dockerfile(t *testing.T) []instructions.Stage {
	t.Helper()
	parsed := get(parser.Parse(bytes.NewReader(read(t, "Dockerfile"))))(t)
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{}))
	must(t, err)
	return stages
}

// noRegistry treats every image as one of Linux that sets nothing, so that the test needs no registry.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(
	_ context.Context, ref string, _ sourceresolver.Opt,
) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"architecture": "amd64", "os": "linux"}`), nil
}

// BuildKit's own checks, which `docker build --check` runs, have nothing to say.
func TestDockerfile_Lint(t *testing.T) {
	content := read(t, "Dockerfile")
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", content)
	source.Definition = &llb.Definition{} // For messages with lines, of which there are none.
	options := dockerfile2llb.ConvertOpt{SourceMap: source, MetaResolver: noRegistry{}}
	results := get(dockerfile2llb.DockerfileLint(t.Context(), content, options))(t)
	for _, w := range results.Warnings {
		t.Errorf("Dockerfile: %s: %s", w.RuleName, w.Detail)
	}
	if results.Error != nil {
		t.Errorf("Dockerfile: %s", results.Error.Message)
	}
}

// What the image is, of which users rely on every part.
func TestDockerfile_Image(t *testing.T) {
	stages := dockerfile(t)
	pinned := regexp.MustCompile(`^[a-z0-9./-]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}$`)
	for _, s := range stages { // No stage is built on another one.
		if !pinned.MatchString(s.BaseName) {
			t.Errorf("FROM %s is not pinned by tag and digest", s.BaseName)
		}
	}
	labels := make(map[string]string)
	var user, entrypoint, health, copied string
	for _, command := range stages[len(stages)-1].Commands {
		switch c := command.(type) {
		case *instructions.LabelCommand:
			for _, l := range c.Labels {
				labels[l.Key] = l.Value
			}
		case *instructions.CopyCommand:
			copied += strings.Join(c.SourcePaths, " ") + " to " + c.DestPath
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			entrypoint = strings.Join(c.CmdLine, " ")
		case *instructions.HealthCheckCommand:
			health = strings.Join(c.Health.Test, " ")
		case *instructions.RunCommand:
			t.Errorf("the last stage has no shell to RUN %v", c.CmdLine)
		}
	}
	if !regexp.MustCompile(`^[1-9][0-9]*:[1-9][0-9]*$`).MatchString(user) {
		t.Errorf("USER %s is no number other than root's", user)
	}
	const program = "/bin/consul_cluster_exporter"
	if entrypoint != program || health != "CMD "+program+" healthcheck" {
		t.Errorf("ENTRYPOINT %s, HEALTHCHECK %s; want those of %s", entrypoint, health, program)
	}
	if copied != "/out/ to /bin/" { // A folder, so that the link in it stays one.
		t.Errorf("the image gets %s; want /out/ to /bin/", copied)
	}
	for name := range strings.FieldsSeq("title description url source documentation licenses version revision") {
		if labels["org.opencontainers.image."+name] == "" {
			t.Errorf("the label org.opencontainers.image.%s is missing", name)
		}
	}
}

// The command of the first stage builds a static exporter from what .dockerignore lets through, and that is nothing
// else.
func TestDockerfile_Build(t *testing.T) {
	dir := filteredByDockerignore(t)
	for name := range strings.FieldsSeq("test README.md Makefile docs tools alerts/testdata internal/consultest") {
		if matches, _ := filepath.Glob(filepath.Join(dir, name)); len(matches) > 0 {
			t.Errorf("%s is sent to the builder; nothing of the build needs it", name)
		}
	}
	out := t.TempDir() + "/"
	for _, c := range dockerfile(t)[0].Commands {
		run, ok := c.(*instructions.RunCommand)
		if !ok || !strings.Contains(strings.Join(run.CmdLine, " "), "go build") {
			continue
		}
		script := strings.ReplaceAll(strings.Join(run.CmdLine, " "), "/out/", out)
		env := append([]string{"TARGETOS=", "TARGETARCH=", "GOFLAGS=-mod=readonly"}, buildOf...)
		command(t, dir, env, "sh", "-c", script)
	}
	binary := filepath.Join(out, "consul_cluster_exporter")
	expectVersion(t, binary)
	expectVersion(t, filepath.Join(out, "consul_exporter"))
	if target := get(os.Readlink(filepath.Join(out, "consul_exporter")))(t); target != "consul_cluster_exporter" {
		t.Errorf("consul_exporter is a link to %s; want one to the exporter next to it", target)
	}
	settings := command(t, dir, nil, "go", "version", "-m", binary)
	if !strings.Contains(settings, "CGO_ENABLED=0") || !strings.Contains(settings, "-trimpath=true") {
		t.Errorf("it is built with\n%s\nwant CGO_ENABLED=0 and -trimpath", settings)
	}
}

// filteredByDockerignore returns a folder with what a builder gets.
func filteredByDockerignore(t *testing.T) string {
	t.Helper()
	patterns := get(ignorefile.ReadAll(bytes.NewReader(read(t, ".dockerignore"))))(t)
	matcher := get(patternmatcher.New(patterns))(t)
	return copyTree(t, func(name string, dir bool) bool {
		ignored := get(matcher.MatchesOrParentMatches(name))(t)
		return ignored && !dir // Something in an ignored folder may not be.
	})
}
