// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// maxExposure is what `systemd-analyze security` may say of the unit: below 2 it says OK, and it cannot know that the
// exporter has to reach other hosts.
const maxExposure = 1.6

const (
	unitName  = "consul_cluster_exporter.service"
	unit      = "examples/systemd/" + unitName
	tokenConf = "examples/systemd/consul_cluster_exporter.service.d/token.conf"

	releaseName = "consul-release-stop.service"
	releaseUnit = "examples/systemd/" + releaseName
	safeToStop  = "examples/systemd/consul.service.d/safe-to-stop.conf"
)

// systemd finds no problem in the unit, with and without the token, and rates it as safe.
func TestSystemd(t *testing.T) {
	program := standIn(t)
	for _, dropIn := range []bool{false, true} {
		units := t.TempDir()
		file := filepath.Join(units, unitName)
		must(t, os.WriteFile(file, atProgram(t, unit, program), 0o644))
		if dropIn {
			must(t, os.Mkdir(file+".d", 0o755))
			must(t, os.WriteFile(filepath.Join(file+".d", "token.conf"), atProgram(t, tokenConf, program), 0o644))
		}
		if out := verify(t, units, file); out != "" {
			t.Errorf("systemd-analyze verify, token %t: %s", dropIn, out)
		}
		expectSafe(t, units, file)
	}
}

// systemd finds no problem in the responder's unit, and rates it as safe.
func TestSystemd_Responder(t *testing.T) {
	const responder = "examples/systemd/consul-responder.service"
	units := t.TempDir()
	file := filepath.Join(units, filepath.Base(responder))
	must(t, os.WriteFile(file, atProgram(t, responder, standIn(t)), 0o644))
	if out := verify(t, units, file); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	expectSafe(t, units, file)
}

// expectSafe has systemd rate a unit.
func expectSafe(t *testing.T, units, file string) {
	t.Helper()
	out := command(t, units, nil, "systemd-analyze", "security", "--offline=yes", "--no-pager", file)
	level := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
	if level == nil {
		t.Fatalf("systemd-analyze security does not say how exposed the unit is: %s", out)
	}
	if exposure, err := strconv.ParseFloat(level[1], 64); err != nil || exposure > maxExposure {
		t.Errorf("the exposure is %s (%v); want at most %v:\n%s", level[1], err, maxExposure, out)
	}
}

// systemd finds no problem in the units that reserve the stop of a Consul server, beside a unit of Consul's.
func TestSystemd_Reservation(t *testing.T) {
	program, units := standIn(t), t.TempDir()
	consul := filepath.Join(units, "consul.service")
	must(t, os.WriteFile(consul, []byte("[Unit]\nDescription=Consul\n[Service]\nExecStart="+program+" agent\n"), 0o644))
	must(t, os.Mkdir(consul+".d", 0o755))
	must(t, os.WriteFile(filepath.Join(consul+".d", "safe-to-stop.conf"), atProgram(t, safeToStop, program), 0o644))
	release := filepath.Join(units, releaseName)
	must(t, os.WriteFile(release, atProgram(t, releaseUnit, program), 0o644))
	if out := verify(t, units, consul, release); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
}

// standIn returns a program that is there when systemd looks for the exporter.
func standIn(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "consul_cluster_exporter")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	return program
}

// atProgram returns the file with this program instead of the installed one.
func atProgram(t *testing.T, name, program string) []byte {
	t.Helper()
	const installed = "/usr/bin/consul_cluster_exporter "
	content := string(read(t, name))
	if !strings.Contains(content, installed) {
		t.Fatalf("%s does not have %s", name, installed)
	}
	return []byte(strings.ReplaceAll(content, installed, program+" "))
}

// verify returns what systemd has to say about these files among the units; those of the machine do not matter.
func verify(t *testing.T, units string, files ...string) string {
	t.Helper()
	args := append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)
	return command(t, units, []string{"SYSTEMD_UNIT_PATH=" + units + ":"}, "systemd-analyze", args...)
}
