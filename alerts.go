// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/alerts"
)

// alertsOptions are the flags of the command that writes the rules and alerts.
type alertsOptions struct {
	// outputDir is the folder to write the files to; empty means standard output.
	outputDir string
	// settings has the value of each of the pack's settings, by name.
	settings map[string]*string
}

// alertsFlags declares a flag for each setting of the pack.
func alertsFlags(cmd *kingpin.CmdClause, opts *alertsOptions) {
	cmd.Flag("output-dir", "Folder to write to: the rule files, and the example for Alertmanager into a folder alertmanager below it. Default: the rules alone go to standard output, as one file.").StringVar(&opts.outputDir)
	opts.settings = make(map[string]*string)
	for _, s := range alerts.Settings() {
		opts.settings[s.Name] = cmd.Flag(s.Name, s.Help).Default(s.Default).String()
	}
}

// writeAlerts is the command: it returns the exit code.
func writeAlerts(opts *alertsOptions, stdout, stderr io.Writer) int {
	given := make(map[string]string)
	for name, value := range opts.settings {
		given[name] = *value
	}
	if err := writeAlertsTo(opts.outputDir, given, stdout); err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// writeAlertsTo writes what goes with these settings into a folder, or the rules alone to standard output if there is none.
func writeAlertsTo(dir string, settings map[string]string, stdout io.Writer) error {
	rules, err := alerts.Pack(settings)
	if err != nil {
		return err
	}
	if dir == "" {
		_, err := stdout.Write(alerts.Join(rules))
		return err
	}
	example, err := alerts.Alertmanager(settings)
	if err != nil {
		return err
	}
	if err := saveFiles(dir, rules, stdout); err != nil {
		return err
	}
	// Apart from the rules, for Prometheus to load these as dir/*.yml.
	return saveFiles(filepath.Join(dir, "alertmanager"), []alerts.File{example}, stdout)
}

// saveFiles writes the files into a folder, which it makes if it is not there, and prints their names.
func saveFiles(dir string, files []alerts.File, stdout io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--output-dir: %w", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Content, 0o644); err != nil {
			return fmt.Errorf("--output-dir: %w", err)
		}
		fmt.Fprintln(stdout, path)
	}
	return nil
}
