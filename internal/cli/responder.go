// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/config"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/files"
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/responder"
	"github.com/zervigo/consul_cluster_exporter/web"
)

// responderOptions are the flags of the command that acts on alerts.
type responderOptions struct {
	configFile  string
	configCheck bool
	// allowWritable is whether files may be used that others can write.
	allowWritable bool
	web           *toolkit.FlagConfig
	// alertFile has the alert to test.
	alertFile string
}

// The commands of the responder. Without one it runs.
const (
	commandResponderRun  = commandResponder + " run"
	commandResponderTest = commandResponder + " test"
)

// responderFlags declares the flags of the command.
func responderFlags(cmd *kingpin.CmdClause, opts *options) {
	agentFlags(cmd, opts)
	r := &opts.responder
	cmd.Flag("config.file", "File with the rules; see docs/responder.example.yml.").
		StringVar(&r.configFile)
	cmd.Flag("config.check", "Check the flags and the configuration file, say what is wrong with them, and exit.").
		BoolVar(&r.configCheck)
	cmd.Flag("config.allow-writable-files",
		"Accept configuration, secrets, and programs that users other than root and the responder's can write.").
		BoolVar(&r.allowWritable)
	r.web = kingpinflag.AddFlags(cmd, "127.0.0.1:9108")
	logFlags(cmd, opts)
	nameVariables(cmd)
	cmd.Command("run", "Run the responder. This is what happens without a command.").Default()
	cmd.Command("test", "Say what would be done about an alert now, and why, without doing it.").
		Flag("alert", "File with the alert: JSON with its labels, or a delivery of Alertmanager.").
		Required().PlaceHolder("FILE").StringVar(&r.alertFile)
}

// runResponder is the command: it returns the exit code.
func runResponder(ctx context.Context, opts *options, stdout, stderr io.Writer) int {
	surviveClosedPipes()
	// SIGHUP must not end the program in the middle of an action. There is nothing to reload.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	base, closeLog := newLogger(opts, stderr)
	defer closeLog()
	logger := withContext(base)
	valid, respond, err := opts.validateResponder(logger)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	if opts.responder.configCheck {
		fmt.Fprintln(stdout, "configuration is good")
		return 0
	}
	c := cluster.New(valid.cluster())
	defer c.Close()
	respond.Consul, respond.Logger = c, logger
	respond.HookEnvironment = opts.hookEnvironment()
	if opts.command == commandResponderTest {
		text, err := files.Read(opts.responder.alertFile)
		if err == nil {
			err = responder.Explain(ctx, respond, text, stdout)
		}
		if err != nil {
			complain(stderr, err)
			return 1
		}
		return 0
	}
	r, err := responder.New(respond)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	level.Info(logger).Log("msg", "starting the responder", "version", version.Info(),
		"consul_server", strings.Join(opts.consulServers, ","))
	err = serveResponder(ctx, r, opts.responder.web, logger, base)
	if err = errors.Join(err, r.Close()); err != nil {
		level.Error(logger).Log("msg", "the responder ends", "err", redact.Text(err.Error()))
		return 1
	}
	return 0
}

// serveResponder runs it until ctx is done. An action under way is finished first.
func serveResponder(
	ctx context.Context, r *responder.Responder, flags *toolkit.FlagConfig, logger, base log.Logger,
) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { r.Run(ctx) })
	return listenUntil(ctx, web.NewServerWithBodies(responder.NewHandler(r), logger), flags, logger, newSlog(base))
}

// validateResponder checks all options of the responder. The error has all problems, one in a line, each with its
// flag or key.
func (o *options) validateResponder(logger log.Logger) (*validOptions, responder.Options, error) {
	var problems flagProblems
	var respond responder.Options
	s := o.validateAgent(o.agentModule(), &problems,
		func(p config.Problem) { warnUnreadable(logger, flagsOf(p.Key), p.Err) })
	problems.note("--web.config.file", validateWebConfig(*o.responder.web.WebConfigFile))
	problems.note("--web.listen-address", validateListen(o.responder.web))
	if o.responder.configFile == "" {
		problems.note("--config.file", errors.New("there is none; want for example one such as docs/responder.example.yml"))
		return nil, respond, errors.Join(problems...)
	}
	var err error
	if respond.Config, err = responder.Load(o.responder.configFile); err != nil {
		problems.noteFile(o.responder.configFile, err)
		return nil, respond, errors.Join(problems...)
	}
	if !o.responder.allowWritable {
		err := errors.Join(respond.Config.CheckFiles(o.responder.configFile), o.checkFlagFiles())
		if err != nil {
			problems = append(problems, err)
		}
	}
	problems.note("history.file", respond.Config.History.Check())
	if file := respond.Config.SecretFile; file != "" {
		secret, err := consul.NewTokenFile(file, func(err error) { warnUnreadable(logger, "secret_file", err) })
		if problems.note("secret_file", err); err == nil {
			respond.Secret = secret.Token
		}
		problems.note("--web.config.file", noBasicAuth(*o.responder.web.WebConfigFile))
	} else if !loopbackOnly(o.responder.web) {
		problems.note("secret_file", errors.New("there is none; without a secret the responder listens on "+
			"loopback addresses only, such as --web.listen-address=127.0.0.1:9108"))
	}
	return s, respond, errors.Join(problems...)
}

// checkFlagFiles returns which of the files that flags name, such as the token, others could write.
func (o *options) checkFlagFiles() error {
	errs := []error{responder.CheckFile("--web.config.file", *o.responder.web.WebConfigFile)}
	for _, option := range o.module.Options() {
		if path, ok := option.Value.(*string); ok && !option.ServeOnly && strings.HasSuffix(option.Flag, "file") {
			errs = append(errs, responder.CheckFile("--"+option.Flag, *path))
		}
	}
	return errors.Join(errs...)
}

// loopbackOnly reports whether nobody can connect from another host.
func loopbackOnly(flags *toolkit.FlagConfig) bool {
	if *flags.WebSystemdSocket {
		return false // The address is unknown.
	}
	return !slices.ContainsFunc(*flags.WebListenAddresses, func(address string) bool {
		host, _, err := net.SplitHostPort(address)
		return err != nil || (host != "localhost" && !net.ParseIP(host).IsLoopback())
	})
}

// hookEnvironment are the variables with which programs reach Consul as the responder does: those of Consul's CLI where
// there are any, and else those of the command check. Secrets are in files. Paths are absolute, because programs run in
// another folder.
func (o *options) hookEnvironment() []string {
	env := []string{"CONSUL_HTTP_ADDR=" + o.consulServers[0]}
	if len(o.consulServers) > 1 {
		env = append(env, "CONSUL_CLUSTER_EXPORTER_CONSUL_SERVER="+strings.Join(o.consulServers, ","))
	}
	usual := config.DefaultModule()
	defaults := usual.Options()
	for i, option := range o.module.Options() {
		if option.Flag == "-" || option.ServeOnly || reflect.DeepEqual(option.Value, defaults[i].Value) {
			continue
		}
		value := fmt.Sprint(reflect.ValueOf(option.Value).Elem())
		if list, ok := option.Value.(*[]string); ok {
			value = strings.Join(*list, ",")
		}
		if absolute, err := filepath.Abs(value); err == nil && strings.HasSuffix(option.Flag, "file") {
			value = absolute
		}
		name, negated := strings.CutSuffix(option.Env, "=false")
		switch {
		case negated:
			value = "false" // The default is that it is not set.
		case name == "":
			name = "CONSUL_CLUSTER_EXPORTER_" + flagVariable(option.Flag)
		}
		env = append(env, name+"="+value)
	}
	return env
}
