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
)

// systemd finds no problem in the unit, with and without the token, and rates it as safe.
func TestSystemd(t *testing.T) {
	dir := t.TempDir()
	// systemd looks whether the program is there.
	program := filepath.Join(dir, "consul_cluster_exporter")
	must(t, os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755))
	atProgram := func(name string) []byte {
		const installed = "ExecStart=/usr/bin/consul_cluster_exporter "
		content := strings.Replace(string(read(t, name)), installed, "ExecStart="+program+" ", 1)
		if !strings.Contains(content, program) {
			t.Fatalf("%s does not have %s", name, installed)
		}
		return []byte(content)
	}
	for _, dropIn := range []bool{false, true} {
		units := t.TempDir()
		file := filepath.Join(units, unitName)
		must(t, os.WriteFile(file, atProgram(unit), 0o644))
		if dropIn {
			must(t, os.Mkdir(file+".d", 0o755))
			must(t, os.WriteFile(filepath.Join(file+".d", "token.conf"), atProgram(tokenConf), 0o644))
		}
		// Units that come with the machine do not matter.
		env := []string{"SYSTEMD_UNIT_PATH=" + units + ":"}
		out := command(t, units, env, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file)
		if out != "" {
			t.Errorf("systemd-analyze verify, token %t: %s", dropIn, out)
		}
		out = command(t, units, nil, "systemd-analyze", "security", "--offline=yes", "--no-pager", file)
		level := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
		if level == nil {
			t.Fatalf("systemd-analyze security does not say how exposed the unit is: %s", out)
		}
		if exposure, err := strconv.ParseFloat(level[1], 64); err != nil || exposure > maxExposure {
			t.Errorf("the exposure is %s (%v); want at most %v:\n%s", level[1], err, maxExposure, out)
		}
	}
}
