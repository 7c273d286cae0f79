// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"errors"
	"fmt"
)

// CheckFiles returns which of the files that decide what the responder does others than its user and root could write:
// the configuration at this path, the secrets, and the programs. Its error has one of them in a line.
func (c *Config) CheckFiles(path string) error {
	errs := []error{ownOnly("--config.file", path), ownOnly("secret_file", c.SecretFile)}
	for i := range c.Rules {
		key := fmt.Sprintf("rules[%d] (%s).action.", i, c.Rules[i].Name)
		if n := c.Rules[i].Action.Notify; n != nil {
			errs = append(errs, ownOnly(key+"notify.url_file", n.URLFile))
		}
		if r := c.Rules[i].Action.Remove; r != nil && r.Confirm != nil {
			errs = append(errs, ownOnly(key+"remove-dead-peer.confirm.command", r.Confirm.Command))
		}
		if e := c.Rules[i].Action.Exec; e != nil {
			errs = append(errs, ownOnly(key+"exec.command", e.Command))
		}
	}
	return errors.Join(errs...)
}

// ownOnly says what is wrong with who may write a file; nil if there is none.
func ownOnly(key, path string) error {
	if path == "" {
		return nil
	}
	why := writableByOthers(path)
	if why == "" {
		return nil
	}
	return fmt.Errorf("%s: %s %s, who could make the responder do anything; "+
		"see that only root and the responder's user can write it, or allow it with --config.allow-writable-files",
		key, path, why)
}
