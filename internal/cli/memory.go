// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"

	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/files"
	"github.com/zervigo/consul_cluster_exporter/internal/redact"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// memoryOptions are the flags about what is remembered of the cluster.
type memoryOptions struct {
	stateFile      string
	expectedVoters int
	dismissedFile  string
	// exporter is the URL of a running exporter whose memory the command check uses, exporterFiles are for TLS with it,
	// and exporterTLS is made from them.
	exporter      string
	exporterFiles consul.TLSFiles
	exporterTLS   *tls.Config
	// forget is the ID of the server that the command forget is about.
	forget string
}

// memoryFlags declares the flags that the exporter and the command check share.
func memoryFlags(cmd *kingpin.CmdClause, m *memoryOptions) {
	cmd.Flag("cluster.expected-voters",
		"How many voters the cluster should have, the same on all exporters; 0 means the most that it had for an hour, at "+
			"first bootstrap_expect.").
		Default("0").IntVar(&m.expectedVoters)
	cmd.Flag("cluster.dismissed-file",
		"File with the node IDs, one per line, of servers that will not be back.").
		StringVar(&m.dismissedFile)
}

// forgetFlags declares the argument and the flag of the command that dismisses a server.
func forgetFlags(cmd *kingpin.CmdClause, m *memoryOptions) {
	cmd.Arg("id", "Node ID of the missing server, as check and consul_server_missing_since_timestamp_seconds show it.").
		Required().StringVar(&m.forget)
	cmd.Flag("state.file", "State file of the exporter, which may be running.").Required().StringVar(&m.stateFile)
}

// forget is the command that dismisses a missing server.
func (m *memoryOptions) forgetServer(stdout io.Writer) error {
	name, err := memory.RequestForget(m.stateFile, m.forget)
	if err != nil {
		return fmt.Errorf("--state.file: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%s (%s) is forgotten with the next scrape\n", name, m.forget)
	return err
}

// options checks the flags.
func (m *memoryOptions) options(problems *flagProblems, logger log.Logger) memory.Options {
	opts := memory.Options{ExpectedVoters: m.expectedVoters, Logger: logger}
	if m.expectedVoters < 0 || m.expectedVoters > memory.MaxServers {
		problems.note("--cluster.expected-voters",
			fmt.Errorf("%d is not between 0 and %d", m.expectedVoters, memory.MaxServers))
	}
	if m.stateFile != "" {
		problems.note("--state.file", memory.CheckFile(m.stateFile))
	}
	if m.dismissedFile == "" {
		return opts
	}
	warn := func(err error) {
		if logger != nil {
			warnUnreadable(logger, "--cluster.dismissed-file", err)
		}
	}
	file, err := files.Watch(parseIDs, warn, files.Source{Path: m.dismissedFile})
	if problems.note("--cluster.dismissed-file", err); err == nil {
		opts.Dismissed = file.Value
	}
	return opts
}

// parseIDs reads IDs, one in a line. Empty lines and those that begin with # do not count.
func parseIDs(read []files.File) ([]string, error) {
	var ids []string
	for line := range strings.Lines(string(read[0].Content)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			ids = append(ids, line)
		}
	}
	if i := slices.IndexFunc(ids, func(id string) bool { return strings.ContainsAny(id, " \t") }); i >= 0 {
		return nil, fmt.Errorf("%s: %q is not an ID", read[0].Path, ids[i])
	}
	return ids, nil
}

// open opens the memory of the exporter.
func (m *memoryOptions) open(opts memory.Options) (*memory.Memory, error) {
	if m.stateFile == "" {
		return memory.New(opts), nil
	}
	opened, err := memory.Open(m.stateFile, opts)
	if err != nil {
		return nil, fmt.Errorf("--state.file: %w", err)
	}
	return opened, nil
}

// noMemory is what check says about itself without one.
const noMemory = "none, so only what Consul knows now (give --state.file or --exporter)"

// othersMemory is what check says about a memory of another cluster.
const othersMemory = "none, so only what Consul knows now (what was given is about another cluster)"

// read reads the memory for the command check, and says so if there is none.
func (m *memoryOptions) read(ctx context.Context, opts memory.Options) (remembered *memory.Memory, note string) {
	var err error
	switch {
	case m.stateFile != "":
		remembered, err = memory.Read(m.stateFile, opts)
	case m.exporter != "":
		remembered, err = m.ofExporter(ctx, opts)
	default:
		return memory.New(opts), noMemory
	}
	if err != nil {
		return memory.New(opts), "none, so only what Consul knows now: " + redact.Text(err.Error())
	}
	return remembered, ""
}

// exporterFlags declares the flags about a running exporter.
func exporterFlags(cmd *kingpin.CmdClause, m *memoryOptions) {
	cmd.Flag("exporter",
		"Address of a running exporter, such as http://localhost:9107, to know the servers that are gone.").
		StringVar(&m.exporter)
	cmd.Flag("exporter.ca-file",
		"PEM file of the authorities that sign the exporter's certificate. Default: the system's.").
		StringVar(&m.exporterFiles.CAFile)
	cmd.Flag("exporter.cert-file", "PEM file of the client certificate for the exporter.").
		StringVar(&m.exporterFiles.CertFile)
	cmd.Flag("exporter.key-file", "File with the key (PEM) of --exporter.cert-file.").StringVar(&m.exporterFiles.KeyFile)
}

// problems checks the flags about a running exporter, and reads their files.
func (m *memoryOptions) problems(ps *flagProblems) {
	const tlsFlags = "--exporter.ca-file, --exporter.cert-file, --exporter.key-file"
	switch {
	case m.exporter == "" && m.exporterFiles != (consul.TLSFiles{}):
		ps.note(tlsFlags, errors.New("there is nothing to use them for without --exporter"))
		return
	case m.exporter == "":
		return
	case m.stateFile != "":
		ps.note("--exporter, --state.file", errors.New("only one of them can be used"))
	}
	ps.note("--exporter", validateExporter(m.exporter))
	files, err := m.exporterFiles.Open(nil)
	if ps.note(tlsFlags, err); err == nil {
		m.exporterTLS = files.Config()
	}
}

// validateExporter reports what is wrong with the address of an exporter.
func validateExporter(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" {
		return errors.New("want http or https and a host, such as http://localhost:9107")
	}
	return nil
}

// exporterTimeout bounds the question for the state of an exporter.
const exporterTimeout = 3 * time.Second

// ofExporter asks a running exporter for its memory.
func (m *memoryOptions) ofExporter(ctx context.Context, opts memory.Options) (*memory.Memory, error) {
	ctx, cancel := context.WithTimeout(ctx, exporterTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.exporter, "/")+"/state", http.NoBody)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: m.exporterTLS},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // Without the address, which may hold a password.
	}
	if err != nil {
		return nil, fmt.Errorf("ask the exporter: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the exporter answers %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, memory.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("ask the exporter: %w", err)
	}
	remembered, err := memory.Decode(text, opts)
	if err != nil {
		return nil, fmt.Errorf("the exporter's answer: %w", err)
	}
	return remembered, nil
}
