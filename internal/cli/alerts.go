// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/alerts"
	"github.com/zervigo/consul_cluster_exporter/internal/ownfile"
)

// alertsOptions are the flags of the command that writes the rules and alerts.
type alertsOptions struct {
	// outputDir is the folder to write the files to; empty means standard output.
	outputDir string
	// format is that of the rules.
	format string
	// settings has the value of each of the pack's settings, by name, and lists those that can be repeated.
	settings map[string]*string
	lists    map[string]*commaList
}

// alertsFlags declares a flag for each setting of the pack.
func alertsFlags(cmd *kingpin.CmdClause, opts *alertsOptions) {
	cmd.Flag("output-dir",
		"Folder for the rules and, below it, Alertmanager's example. Default: only the rules, to standard output.").
		StringVar(&opts.outputDir)
	cmd.Flag("format",
		"Format: rules (for rule_files), prometheusrule (for the Prometheus Operator), or mixin (Jsonnet).").
		Default(alerts.FormatRules).StringVar(&opts.format)
	opts.settings = make(map[string]*string)
	for _, s := range alerts.Settings() {
		flag := cmd.Flag(s.Name, s.Help)
		if s.Default != "" {
			flag.Default(s.Default)
		}
		opts.settings[s.Name] = flag.String()
	}
	opts.lists = make(map[string]*commaList)
	for _, l := range alerts.Lists() {
		opts.lists[l.Name] = new(commaList)
		cmd.Flag(l.Name, l.Help).SetValue(opts.lists[l.Name])
	}
}

// writeAlerts is the command. It writes the files into a folder, or the rules alone to standard output if there is
// none.
func writeAlerts(opts *alertsOptions, stdout io.Writer) error {
	settings := make(map[string]string)
	for name, value := range opts.settings {
		settings[name] = *value
	}
	for name, words := range opts.lists {
		settings[name] = words.String()
	}
	dir := opts.outputDir
	if dir == "" {
		rules, err := alerts.Single(opts.format, settings)
		if err != nil {
			return err
		}
		_, err = stdout.Write(rules)
		return err
	}
	rules, err := alerts.Files(opts.format, settings)
	if err != nil {
		return err
	}
	example, err := alerts.Alertmanager(settings)
	if err != nil {
		return err
	}
	// Apart from the rules, for Prometheus to load these as dir/*.yml.
	example.Name = filepath.Join("alertmanager", example.Name)
	kind := ownfile.WithFirstLine("a file that `consul_cluster_exporter alerts` wrote", alerts.Marker)
	return saveFiles(dir, append(rules, example), func(alerts.File) ownfile.Kind { return kind }, stdout)
}

// saveFiles writes the files into a folder, which it makes if it is not there, and prints their names. It replaces
// only files of the kind that each of them is, and if there is another one it writes none of them.
func saveFiles(dir string, files []alerts.File, kind func(alerts.File) ownfile.Kind, stdout io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("--output-dir: %w", err)
	}
	var foreign []error
	for _, f := range files {
		if err := kind(f).Check(filepath.Join(dir, f.Name)); err != nil {
			foreign = append(foreign,
				fmt.Errorf("--output-dir: %w; move it away, or choose another folder, such as %s", err,
					filepath.Join(dir, "consul")))
		}
	}
	if len(foreign) > 0 {
		return errors.Join(foreign...)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := saveFile(path, f.Content, kind(f)); err != nil {
			return fmt.Errorf("--output-dir: %w", err)
		}
		fmt.Fprintln(stdout, path)
	}
	return nil
}

// saveFile writes a file, and makes the folder for it.
func saveFile(path string, content []byte, kind ownfile.Kind) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := kind.OpenToWrite(path, os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}
