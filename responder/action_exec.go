// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

const (
	// maxOutput is how much of a program's output is kept.
	maxOutput = 64 << 10
	// outputGrace is how long output is waited for after a program has ended, if others that it started hold it open.
	outputGrace = 2 * time.Second
	// execPath is the PATH of programs.
	execPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// execPrefix begins the names of the variables that tell about the alert.
	execPrefix = "CONSUL_RESPONDER_"
)

// execCommand runs a program with fixed arguments. What the alert says is in its environment only. It is judged as if
// the program stopped the server that the alert is about.
type execCommand struct {
	guards
	ExecConfig
	rule string
	// reach are the variables with which it reaches Consul.
	reach []string
}

func (*execCommand) name() string             { return actionExec }
func (*execCommand) guarded() bool            { return true }
func (e *execCommand) timeout() time.Duration { return e.Timeout }

func (*execCommand) applies(a *Alert, _ *view) string {
	return needsServer(a, "what the program would do to the quorum")
}

func (e *execCommand) judge(a *Alert, v *view) (plan, decision) {
	what := "Run " + e.Command
	if n := len(e.Args); n > 0 { // Which may be secrets.
		what += " with " + wording.Plural(n, "argument", "arguments")
	}
	return plan{
		what: what,
		run:  func(ctx context.Context, began func(*Process)) (string, error) { return e.run(ctx, a, began) },
	}, e.canLose(a.server(), v)
}

// maxExecTimeout is the longest time limit of a program.
const maxExecTimeout = time.Hour

func (e *execCommand) run(ctx context.Context, a *Alert, began func(*Process)) (string, error) {
	environment, err := e.environment(a)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, e.Command, e.Args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = environment, "/", outputGrace
	var output head
	cmd.Stdout, cmd.Stderr = &output, &output
	ownGroup(cmd)
	if err = cmd.Start(); err == nil {
		began(newProcess(cmd.Process.Pid))
		err = cmd.Wait()
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("the program ran for longer than %s and was killed: %w", e.Timeout, ctx.Err())
	} else if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // It ended well, and only what it has left running held its output.
	}
	return output.String(), err
}

// variableName is what can be part of the name of a variable.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment is all that the program gets: PATH, how to reach Consul, and the alert. No variable can hold NUL, which
// is replaced.
func (e *execCommand) environment(a *Alert) ([]string, error) {
	whole, err := a.asJSON(nil)
	if err != nil {
		return nil, err
	}
	env := []string{
		"PATH=" + execPath, execPrefix + "RULE=" + e.rule, execPrefix + "ALERT=" + string(whole),
		execPrefix + "STARTS_AT=" + a.StartsAt.Format(time.RFC3339),
	}
	env = append(env, e.reach...)
	add := func(kind string, fields map[string]string) {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if variableName.MatchString(name) { // The others are in ALERT.
				env = append(env, execPrefix+kind+"_"+name+"="+strings.ReplaceAll(fields[name], "\x00", "\uFFFD"))
			}
		}
	}
	add("LABEL", a.Labels)
	add("ANNOTATION", a.Annotations)
	return env, nil
}

// head keeps the beginning of what is written to it.
type head struct {
	kept bytes.Buffer
	lost int
}

func (h *head) Write(p []byte) (int, error) {
	n := min(len(p), maxOutput-h.kept.Len())
	h.kept.Write(p[:n])
	h.lost += len(p) - n
	return len(p), nil
}

func (h *head) String() string {
	text := strings.ToValidUTF8(h.kept.String(), "\uFFFD")
	if h.lost > 0 {
		text += fmt.Sprintf("\n(%d bytes more)", h.lost)
	}
	return text
}

func executable(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is no absolute path", path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err // Says "stat <path>: ...".
	case info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case !mayRun(info):
		return fmt.Errorf("%s is not executable", path)
	}
	return nil
}
