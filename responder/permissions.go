// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
)

// CheckFiles returns which of the files that decide what the responder does others than its user and root could write:
// the configuration at this path, the secrets, and the programs. Its error has one of them in a line.
func (c *Config) CheckFiles(path string) error {
	errs := []error{CheckFile("--config.file", path), CheckFile("secret_file", c.SecretFile)}
	for i := range c.Rules {
		key := fmt.Sprintf("rules[%d] (%s).action.", i, c.Rules[i].Name)
		if n := c.Rules[i].Action.Notify; n != nil {
			errs = append(errs, CheckFile(key+"notify.url_file", n.URLFile))
		}
		if r := c.Rules[i].Action.Remove; r != nil && r.Confirm != nil {
			errs = append(errs, ownProgram(key+"remove-dead-peer.confirm.command", r.Confirm.Command))
		}
		if e := c.Rules[i].Action.Exec; e != nil {
			errs = append(errs, ownProgram(key+"exec.command", e.Command))
		}
	}
	return errors.Join(errs...)
}

// CheckFile says what is wrong with who may write a file; nil if nothing, or if there is no path.
func CheckFile(key, path string) error {
	if path == "" {
		return nil
	}
	return othersCan(key, path, writableByOthers(path))
}

// ownProgram is the same for a program, which others must not be able to replace either: neither it nor what a link at
// its path leads to.
func ownProgram(key, path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path // Whoever runs it says so.
	}
	why := cmp.Or(replaceableByOthers(path), replaceableByOthers(target))
	return cmp.Or(CheckFile(key, path), othersCan(key, path, why))
}

func othersCan(key, path, why string) error {
	if why == "" {
		return nil
	}
	return fmt.Errorf("%s: %s %s, who could make the responder do anything; "+
		"see that only root and the responder's user can write it, or allow it with --config.allow-writable-files",
		key, path, why)
}
