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
	"bufio"
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
	"slices"
	"strings"
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
	// staleAge is the age at which an unfinished binary was left behind by a build that was killed.
	staleAge = time.Hour
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		say(os.Stderr, "tools: %v", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("tools", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("path", "", "print where the tool of this `name` is, and build nothing")
	flags.Usage = func() {
		say(stderr, "usage: go run ./tools [-path name | name...]\n\n"+
			"Builds the tools that are missing. They are, those marked with * by default:")
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
	// The default tools, unless others are named.
	selected := slices.DeleteFunc(toolbox.Tools(), func(t toolbox.Tool) bool { return flags.NArg() > 0 || !t.Default })
	for _, name := range flags.Args() {
		tool, err := toolbox.Find(name)
		if err != nil {
			return err
		}
		selected = append(selected, tool)
	}
	root, err := toolbox.Root()
	if err != nil {
		return err
	}
	b := &builder{root, stdout, stderr}
	for _, tool := range selected {
		if err := b.provide(ctx, tool); err != nil {
			return err
		}
	}
	return nil
}

// builder builds tools of the repository with this root.
type builder struct {
	root           string
	stdout, stderr io.Writer
}

// provide builds the tool unless it is there already, and says so.
func (b *builder) provide(ctx context.Context, tool toolbox.Tool) error {
	if path := os.Getenv(tool.EnvVar()); path != "" {
		say(b.stdout, "%s: %s, from %s", tool.Name, path, tool.EnvVar())
		return nil
	}
	version, err := tool.Version(b.root)
	if err != nil {
		return err
	}
	title := tool.Name + " " + version
	binary, err := tool.Binary(version)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err == nil {
		say(b.stdout, "%s: present", title)
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("find %s: %w", title, err)
	}
	say(b.stdout, "%s: building (%s the first time)", title, tool.FirstBuild)
	start := time.Now()
	if err := b.build(ctx, tool, title, binary); err != nil {
		return fmt.Errorf("build %s: %w", title, err)
	}
	say(b.stdout, "%s: built in %s", title, time.Since(start).Round(time.Second))
	return nil
}

// build compiles the tool into an unfinished file next to the binary, and renames it when it is complete.
func (b *builder) build(ctx context.Context, tool toolbox.Tool, title, binary string) error {
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return err
	}
	removeStale(binary)
	unfinished := fmt.Sprintf("%s%d%s", unfinishedPrefix(binary), os.Getpid(), filepath.Ext(binary))
	defer func() { _ = os.Remove(unfinished) }() // After the rename there is nothing left to remove.

	if err := b.compile(ctx, tool, title, unfinished); err != nil {
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
	files, _ := filepath.Glob(unfinishedPrefix(binary) + "*") // An error would be one in the pattern.
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && time.Since(info.ModTime()) > staleAge {
			_ = os.Remove(file)
		}
	}
}

// compile runs the go command and reports on its progress. If that fails, the messages of the go command go to
// stderr.
func (b *builder) compile(ctx context.Context, tool toolbox.Tool, title, output string) error {
	args := []string{"build", "-v", "-ldflags=-s -w " + tool.LDFlags, "-tags", tool.Tags, "-o", output, tool.Package()}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = tool.Dir(b.root)
	cmd.Env = append(os.Environ(), "GOWORK=off") // A workspace around this repository must not change what is built.
	if runtime.GOOS != "windows" {
		// Unlike a killed one, an interrupted go command removes its temporary files.
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = killDelay
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	err = cmd.Start()
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}

	var packages atomic.Int64
	messages := make(chan string, 1)
	go func() { messages <- readOutput(stderr, &packages) }()
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			say(b.stdout, "%s: %d packages compiled, %s", title, packages.Load(), time.Since(start).Round(time.Second))
		case text := <-messages:
			err := cmd.Wait()
			if ctx.Err() != nil {
				return errInterrupted
			}
			if err != nil {
				_, writeErr := io.WriteString(b.stderr, text)
				return errors.Join(err, writeErr)
			}
			return nil
		}
	}
}

var errInterrupted = errors.New("interrupted")

// readOutput reads the standard error of "go build -v": it counts the names of packages and returns the messages. The
// name of a package has no space; everything else that the go command prints has, such as "# package" above its
// errors.
func readOutput(output io.Reader, packages *atomic.Int64) (messages string) {
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		switch text := strings.TrimSuffix(line, "\n"); {
		case text == "" || strings.HasPrefix(text, "go: downloading "):
		case strings.ContainsAny(text, " \t"):
			messages += text + "\n"
		default:
			packages.Add(1)
		}
		if err != nil {
			return messages
		}
	}
}

// say prints one line. That nobody can read it is no reason to stop a build.
func say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}
