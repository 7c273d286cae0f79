// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/terminal"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// need is a program that the demo runs and that is no part of this repository.
type need struct {
	toolbox.Tool

	path   string // "" if it has to be built.
	origin string // Where it is from, or how long building it takes.
	// pages says whether it may have the web pages that the Prometheus built here lacks.
	pages bool
}

// oldest are the programs that the demo runs, in the order in which it needs them, and the oldest versions of them
// that it takes from PATH: those that the exporter, the rules and the example for Alertmanager are tested with.
var oldest = []struct {
	name         string
	major, minor int
}{{"consul", 1, 13}, {"alertmanager", 0, 25}, {"prometheus", 2, 42}}

// findNeeds finds the programs: the one that its environment variable names, else one on PATH that is good enough,
// else one that was built before.
func (d *demo) findNeeds(ctx context.Context) error {
	d.needs = make(map[string]*need)
	for _, program := range oldest {
		tool, err := toolbox.Find(program.name)
		if err != nil {
			return err
		}
		n := &need{Tool: tool}
		if os.Getenv(tool.EnvVar()) != "" {
			n.path, err = toolbox.Path(tool.Name)
			n.origin, n.pages = fmt.Sprintf("%s, from %s", n.path, tool.EnvVar()), true
		} else {
			err = n.find(ctx, program.major, program.minor)
		}
		if err != nil {
			return err
		}
		d.needs[tool.Name] = n
	}
	return nil
}

// find finds a program on PATH, if its version is at least this one, or one that was built before.
func (n *need) find(ctx context.Context, major, minor int) error {
	path, version, unfit := onPath(ctx, n.Name, major, minor)
	if path != "" && unfit == "" {
		n.path, n.origin, n.pages = path, fmt.Sprintf("%s %s from PATH", path, version), true
		return nil
	}
	if unfit != "" {
		unfit = fmt.Sprintf("; %s on PATH %s", path, unfit)
	}
	built, err := toolbox.Path(n.Name)
	switch {
	case errors.Is(err, toolbox.ErrNotBuilt):
		when := "while you look at the cluster"
		if n.Name == "consul" {
			when = "first"
		}
		n.origin = fmt.Sprintf("is built %s, which takes %s once%s", when, n.FirstBuild, unfit)
		return nil
	case err != nil:
		return err
	}
	n.path, n.origin = built, "built before"+unfit
	return nil
}

// onPath returns a program on PATH with its version, and why it is unfit; "" if it is fit, or if there is none.
func onPath(ctx context.Context, name string, major, minor int) (path, version, unfit string) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", "", ""
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// Older ones print it to standard error.
	printed, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return path, "", fmt.Sprintf("does not tell its version: %v", err)
	}
	match := regexp.MustCompile(`(?i)^` + name + `,? v(?:ersion )?((\d+)\.(\d+)\S*)`).FindSubmatch(printed)
	if match == nil {
		first, _, _ := bytes.Cut(printed, []byte("\n"))
		return path, "", fmt.Sprintf("does not tell its version: %.60q", first)
	}
	version = string(match[1])
	gotMajor, _ := strconv.Atoi(string(match[2])) // Too many digits are a large number, too.
	gotMinor, _ := strconv.Atoi(string(match[3]))
	switch {
	case cmp.Or(cmp.Compare(gotMajor, major), cmp.Compare(gotMinor, minor)) < 0:
		unfit = fmt.Sprintf("is %s, older than %d.%d", version, major, minor)
	case strings.Contains(version, "+ent"):
		unfit = fmt.Sprintf("is %s, which needs a license", version)
	}
	return path, version, unfit
}

// describeNeeds prints what is used, and what takes how long.
func (d *demo) describeNeeds() {
	d.print("What the demo uses, and what takes how long")
	rows := [][]terminal.Cell{{plain("exporter"), plain("is built first, which takes a minute or two once")}}
	for _, program := range oldest {
		rows = append(rows, []terminal.Cell{plain(program.name), plain(d.needs[program.name].origin)})
	}
	d.out.Table("  ", rows)
	d.print("With the exporter and Consul there, it takes half a minute to the first look at the cluster.\n")
}

// provideConsul builds Consul if there is none, and has the cluster use the one that was found.
func (d *demo) provideConsul(ctx context.Context) (err error) {
	consul := d.needs["consul"]
	if consul.path == "" {
		cmd, errs := d.builder(ctx, consul.Name)
		cmd.Stdout = os.Stdout
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build Consul: %w\n%s", err, errs)
		}
		if consul.path, err = toolbox.Path(consul.Name); err != nil {
			return err
		}
	}
	return os.Setenv(consul.EnvVar(), consul.path)
}

// buildTheRest starts to build what joins later, if need be.
func (d *demo) buildTheRest(ctx context.Context) {
	d.building = make(chan error, 1)
	var names []string
	for _, program := range oldest {
		if d.needs[program.name].path == "" {
			names = append(names, program.name)
		}
	}
	if len(names) == 0 {
		d.building <- nil
		return
	}
	d.tell("demo", strings.Join(names, " and ")+" will join when built")
	cmd, errs := d.builder(ctx, names...)
	if err := cmd.Start(); err != nil {
		d.building <- err
		return
	}
	go func() {
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, errs)
		}
		d.building <- err
	}()
}

// builder returns the command that builds programs, and what it will write to standard error. It leaves processors to
// the cluster, which must not fail for the lack of them.
func (d *demo) builder(ctx context.Context, names ...string) (*exec.Cmd, *bytes.Buffer) {
	args := append([]string{filepath.Join(d.dir, "tools")}, names...)
	if nice, err := exec.LookPath("nice"); err == nil {
		args = append([]string{nice, "-n", "10"}, args...)
	}
	cmd, errs := exec.CommandContext(ctx, args[0], args[1:]...), new(bytes.Buffer)
	cmd.Stderr, cmd.SysProcAttr = errs, consultest.ChildAttributes()
	interruptible(cmd)
	return cmd, errs
}

// join starts Alertmanager and Prometheus, unless building them has failed.
func (d *demo) join(ctx context.Context, built error) error {
	if built != nil {
		return built
	}
	for _, n := range d.needs {
		if n.path == "" {
			path, err := toolbox.Path(n.Name)
			if err != nil {
				return err
			}
			n.path = path
		}
	}
	alertmanager, err := d.startAlertmanager(ctx)
	if err != nil {
		return err
	}
	prometheus, err := d.startPrometheus(ctx, alertmanager)
	if err != nil {
		return err
	}
	return d.describeJoined(alertmanager, prometheus)
}
