// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

// Command tools builds from source the programs that tests, the demo and the Makefile need; package internal/toolbox
// says which these are, which versions, and where they end up.
//
//	go run ./tools              # build what is missing of the default tools
//	go run ./tools NAME...      # build what is missing of these
//	go run ./tools -path NAME   # print where one is; build nothing
//
// It may be run several times at once and interrupted at any time: a binary
// appears under its name only when it is complete.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

const (
	// reportInterval is the pause between two lines about a build in progress.
	reportInterval = 10 * time.Second
	// killDelay is how long an interrupted go command may take to clean up.
	killDelay = 10 * time.Second
	// staleAge is the age at which an unfinished binary cannot be one in progress:
	// it was left behind by a build that was killed.
	staleAge = time.Hour
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		say(os.Stderr, "tools: %v", err)
		os.Exit(1)
	}
}

// run is the command with these arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tools", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("path", "", "print where the tool of this `name` is, and build nothing")
	flags.Usage = func() {
		say(stderr, "usage: go run ./tools [-path name | name...]\n\nBuilds the tools that are missing. They are, those marked with * by default:")
		for _, tool := range toolbox.Tools() {
			mark := ' '
			if tool.Default {
				mark = '*'
			}
			say(stderr, "  %c %s", mark, tool.Name)
		}
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *path != "" {
		if flags.NArg() > 0 {
			return errors.New("-path takes the name of one tool and nothing else")
		}
		file, err := toolbox.Path(*path)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(stdout, file)
		return err
	}
	selected, err := selectTools(flags.Args())
	if err != nil {
		return err
	}
	root, err := toolbox.Root()
	if err != nil {
		return err
	}
	for _, tool := range selected {
		if err := provide(ctx, root, tool, stdout, stderr); err != nil {
			return err
		}
	}
	return nil
}

// selectTools returns the tools of these names, or the default ones.
func selectTools(names []string) ([]toolbox.Tool, error) {
	var selected []toolbox.Tool
	for _, name := range names {
		tool, err := toolbox.Find(name)
		if err != nil {
			return nil, err
		}
		selected = append(selected, tool)
	}
	if len(names) > 0 {
		return selected, nil
	}
	for _, tool := range toolbox.Tools() {
		if tool.Default {
			selected = append(selected, tool)
		}
	}
	return selected, nil
}

// provide builds the tool unless it is there already, and says so.
func provide(ctx context.Context, root string, tool toolbox.Tool, stdout, stderr io.Writer) error {
	if path := os.Getenv(tool.EnvVar()); path != "" {
		say(stdout, "%s: %s, from %s", tool.Name, path, tool.EnvVar())
		return nil
	}
	version, err := tool.Version(root)
	if err != nil {
		return err
	}
	title := tool.Name + " " + version
	binary, err := tool.Binary(version)
	if err != nil {
		return err
	}
	_, err = os.Stat(binary)
	switch {
	case err == nil:
		say(stdout, "%s: present", title)
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("find %s: %w", title, err)
	}
	say(stdout, "%s: building (%s the first time)", title, tool.FirstBuild)
	start := time.Now()
	if err := build(ctx, root, tool, title, binary, stdout, stderr); err != nil {
		return fmt.Errorf("build %s: %w", title, err)
	}
	say(stdout, "%s: built in %s", title, time.Since(start).Round(time.Second))
	return nil
}

// build compiles the tool into an unfinished file next to the binary, in which
// the go command may write at leisure, and renames it when it is complete.
func build(ctx context.Context, root string, tool toolbox.Tool, title, binary string, stdout, stderr io.Writer) error {
	dir := filepath.Dir(binary)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	removeStale(binary)
	unfinished := fmt.Sprintf("%s%d%s", unfinishedPrefix(binary), os.Getpid(), filepath.Ext(binary))
	// After the rename there is nothing left to remove.
	defer func() { _ = os.Remove(unfinished) }()

	if err := compile(ctx, root, tool, title, unfinished, stdout, stderr); err != nil {
		return err
	}
	return os.Rename(unfinished, binary)
}

// unfinishedPrefix begins the names of the unfinished files of a binary.
func unfinishedPrefix(binary string) string {
	return filepath.Join(filepath.Dir(binary), ".unfinished-"+filepath.Base(binary)+"-")
}

// removeStale removes what killed builds of this binary have left behind.
func removeStale(binary string) {
	files, err := filepath.Glob(unfinishedPrefix(binary) + "*")
	if err != nil {
		return
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) > staleAge {
			_ = os.Remove(file)
		}
	}
}

// compile runs the go command and reports on its progress. If that fails, what
// the go command had to say goes to stderr.
func compile(ctx context.Context, root string, tool toolbox.Tool, title, output string, stdout, stderr io.Writer) error {
	args := []string{"build", "-v", "-ldflags=-s -w " + tool.LDFlags, "-o", output}
	if tool.Tags != "" {
		args = append(args, "-tags", tool.Tags)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, tool.Package)...)
	cmd.Dir = filepath.Join(root, "tools", tool.Folder)
	// A workspace around this repository must not change what is built.
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if runtime.GOOS != "windows" {
		// Unlike a killed one, an interrupted go command removes its temporary files.
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = killDelay
	}
	progress := &progressWriter{}
	cmd.Stderr = progress

	done := make(chan struct{})
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		report(done, title, progress, stdout)
	}()
	err := cmd.Run()
	close(done)
	<-reported

	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case err != nil:
		_, writeErr := stderr.Write(progress.messages())
		return errors.Join(err, writeErr)
	}
	return nil
}

// report prints, until done, how far the build is.
func report(done <-chan struct{}, title string, progress *progressWriter, stdout io.Writer) {
	start := time.Now()
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			say(stdout, "%s: %d packages compiled, %s", title, progress.packages.Load(), time.Since(start).Round(time.Second))
		case <-done:
			return
		}
	}
}

// say prints one line. That nobody can read it is no reason to stop a build.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// A progressWriter takes the standard error of "go build -v": it counts the names of packages and keeps the messages.
type progressWriter struct {
	packages atomic.Int64
	text     bytes.Buffer // the messages
	partial  []byte       // the beginning of a line whose end is still to come
}

// Write never fails. It is called from one goroutine.
func (w *progressWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, complete := bytes.Cut(w.partial, []byte("\n"))
		if !complete {
			return len(p), nil
		}
		w.line(line)
		w.partial = rest
	}
}

// line takes one line. The name of a package has no space; whatever else the
// go command prints, such as "# package" above its errors, has.
func (w *progressWriter) line(line []byte) {
	switch {
	case len(line) == 0 || bytes.HasPrefix(line, []byte("go: downloading ")):
	case bytes.ContainsAny(line, " \t"):
		w.text.Write(line)
		w.text.WriteByte('\n')
	default:
		w.packages.Add(1)
	}
}

// messages returns the errors and warnings. It is called when the writing has ended.
func (w *progressWriter) messages() []byte {
	if len(w.partial) > 0 {
		w.line(w.partial)
		w.partial = nil
	}
	return w.text.Bytes()
}
