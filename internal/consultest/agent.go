// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// An Agent is one Consul agent of a cluster: a process, its address and its data, which outlive the process. Its
// methods may be called from several goroutines.
type Agent struct {
	// Name is the name of the node.
	Name string
	// Addr is the agent's own IP address, such as "127.5.9.1".
	Addr string
	// Server says whether the agent is a server; else it is a client.
	Server bool

	number     int // among the agents of its role, from 1
	cluster    *Cluster
	dataDir    string
	configFile string
	logFile    string // appended to by every process of the agent
	certFile   string // "" without TLS
	keyFile    string // "" without TLS
	url        string
	http       *http.Client
	client     *api.Client

	// change is held while the process is started, stopped or signalled, so that two of these do not mix.
	change sync.Mutex

	mu     sync.Mutex // guards what follows
	proc   *process   // the latest process; nil before the first start
	paused bool       // by Stop
}

// String returns the agent's name.
func (a *Agent) String() string { return a.Name }

// role is what Options call the agent.
func (a *Agent) role() string {
	if a.Server {
		return "server"
	}
	return "client"
}

// Socket returns the path of the unix socket of the agent's API, which is there with Options.Socket.
func (a *Agent) Socket() string { return a.configFile + ".sock" }

// HostPort returns the address of one of the agent's ports, to dial it.
func (a *Agent) HostPort(port int) string {
	return net.JoinHostPort(a.Addr, strconv.Itoa(port))
}

// URL returns the base of the agent's HTTP API: http://127.x.y.z:8500, or https://127.x.y.z:8501 with Options.TLS.
func (a *Agent) URL() string { return a.url }

// Client returns a client of the agent's HTTP API that uses the management token and the cluster's certificates, if
// there are any. It opens a connection for each request and closes it afterwards, so that it leaves no goroutine and
// no connection behind. It has no timeout: give each request a context.
func (a *Agent) Client() *api.Client { return a.client }

// Pid returns the process id of the agent's latest process.
func (a *Agent) Pid() int {
	if p, _ := a.process(); p != nil {
		return p.pid
	}
	return 0
}

// Running says whether the agent's process exists. It does between Stop and Continue as well.
func (a *Agent) Running() bool {
	p, _ := a.process()
	return p.running()
}

// Kill ends the agent's process at once, as a crash or a power failure would,
// and waits until it is gone. It does nothing if the agent is not running.
func (a *Agent) Kill() error {
	a.change.Lock()
	defer a.change.Unlock()
	return a.kill()
}

// kill is Kill for those who hold the lock change.
func (a *Agent) kill() error {
	p, _ := a.process()
	if err := p.kill(); err != nil {
		return fmt.Errorf("kill %s: %w", a.Name, err)
	}
	a.setPaused(false)
	return nil
}

// Stop freezes the agent's process with SIGSTOP and waits until it is frozen. Its ports still accept connections,
// which is the kernel's work, but nothing answers: what a full disk, a deadlock or a hung machine look like. The
// other agents consider it failed after some seconds. On Windows it is an error.
func (a *Agent) Stop() error {
	a.change.Lock()
	defer a.change.Unlock()
	p, paused := a.process()
	if !p.running() {
		return fmt.Errorf("stop %s: %w", a.Name, errNotRunning)
	}
	if paused {
		return nil
	}
	if err := p.pause(); err != nil {
		return fmt.Errorf("stop %s: %w", a.Name, err)
	}
	a.setPaused(true)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return poll(ctx, a.Name+" to be stopped", func(context.Context) error {
		if !processPaused(p.pid) {
			return errors.New("it still runs")
		}
		return nil
	})
}

// Continue lets an agent go on after Stop. It does nothing if it was not stopped.
func (a *Agent) Continue() error {
	a.change.Lock()
	defer a.change.Unlock()
	p, paused := a.process()
	if !p.running() {
		return fmt.Errorf("continue %s: %w", a.Name, errNotRunning)
	}
	if !paused {
		return nil
	}
	if err := p.resume(); err != nil {
		return fmt.Errorf("continue %s: %w", a.Name, err)
	}
	a.setPaused(false)
	return nil
}

// Restart kills the agent if it is running, starts it on the data and at the address that it had, and waits until its
// HTTP API answers; use WaitLeader and WaitMembers to wait until it is part of the cluster again.
func (a *Agent) Restart(ctx context.Context) error {
	a.change.Lock()
	defer a.change.Unlock()
	if err := a.kill(); err != nil {
		return err
	}
	if err := a.start(); err != nil {
		return err
	}
	return a.waitAPI(ctx)
}

// Configure merges more over the agent's configuration, as Options.Config is. It holds from the next Restart on.
func (a *Agent) Configure(more map[string]any) error {
	config, err := a.cluster.config(a)
	if err != nil {
		return fmt.Errorf("configure %s: %w", a.Name, err)
	}
	more, err = plain(more)
	if err != nil {
		return fmt.Errorf("configure %s: %w", a.Name, err)
	}
	return a.writeConfig(merge(config, more))
}

// Certify gives the running agent another certificate, valid from now on for this long, or expired if that is
// negative. It shows it soon afterwards. It needs Options.TLS. On Windows it is an error.
func (a *Agent) Certify(lifetime time.Duration) error {
	if err := a.issue(lifetime); err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	p, _ := a.process()
	if !p.running() {
		return fmt.Errorf("reload the configuration of %s: %w", a.Name, errNotRunning)
	}
	return p.hangUp()
}

// Leave makes the agent leave the cluster in good order and waits until its process has ended, which takes a client
// some 4 s and a server some 9 s: Consul gives the others time to notice. A server gives up its vote; the other
// agents know the agent as "left". Restart brings it back.
func (a *Agent) Leave(ctx context.Context) error {
	a.change.Lock()
	defer a.change.Unlock()
	p, _ := a.process()
	if !p.running() {
		return fmt.Errorf("leave with %s: %w", a.Name, errNotRunning)
	}
	_, err := a.client.Raw().Write("/v1/agent/leave", nil, nil, new(api.WriteOptions).WithContext(ctx))
	if _, refused := errors.AsType[api.StatusError](err); refused {
		return fmt.Errorf("leave with %s: %w", a.Name, err)
	}
	// Any other error can mean that the process ended before it answered: the end of the process is what counts.
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s to leave: %w", a.Name, errors.Join(ctx.Err(), err))
	}
}

// Logs returns everything that the agent has logged so far, across restarts.
// After the cluster's Close there is nothing left.
func (a *Agent) Logs() []LogLine { return a.LogsSince(0) }

// LogMark returns the current end of the agent's log, for LogsSince.
func (a *Agent) LogMark() int {
	info, err := os.Stat(a.logFile)
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// LogsSince returns what the agent has logged since the LogMark.
func (a *Agent) LogsSince(mark int) []LogLine {
	file, err := os.Open(a.logFile)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	output, err := io.ReadAll(io.NewSectionReader(file, int64(mark), 1<<62))
	if err != nil {
		return nil
	}
	return parseLog(output)
}

// Connections returns how many connections to this port of the agent are established: those that it has accepted, and
// those that still wait for it to accept them. It reads /proc/net/tcp, hence works on Linux only.
func (a *Agent) Connections(port int) (int, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, fmt.Errorf("read the table of connections: %w", err)
	}
	addr, err := netip.ParseAddr(a.Addr)
	if err != nil {
		return 0, fmt.Errorf("parse the address of %s: %w", a.Name, err)
	}
	return established(table, netip.AddrPortFrom(addr, uint16(port))), nil
}

// ConnectionsFrom returns how many connections from this IP address to any port of the agent its host still holds, in
// whatever state but TIME_WAIT: both sides have closed those. It reads /proc/net/tcp, hence works on Linux only.
func (a *Agent) ConnectionsFrom(address string) (int, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, fmt.Errorf("read the table of connections: %w", err)
	}
	local, err := netip.ParseAddr(a.Addr)
	if err != nil {
		return 0, fmt.Errorf("parse the address of %s: %w", a.Name, err)
	}
	remote, err := netip.ParseAddr(address)
	if err != nil {
		return 0, fmt.Errorf("parse the other address: %w", err)
	}
	return connected(table, local, remote), nil
}

// errNotRunning is the error of doing something to a process that is not there.
var errNotRunning = errors.New("it is not running")

// prepare writes the agent's configuration and makes its API client. It is called once.
func (a *Agent) prepare() error {
	if a.cluster.ca != nil {
		if err := a.issue(a.cluster.opts.CertLifetime); err != nil {
			return err
		}
	}
	config, err := a.cluster.config(a)
	if err != nil {
		return fmt.Errorf("configure %s: %w", a.Name, err)
	}
	scheme, port, err := apiPort(config, a.cluster.opts.TLS)
	if err != nil {
		return fmt.Errorf("configure %s: %w", a.Name, err)
	}
	a.url = scheme + "://" + net.JoinHostPort(a.Addr, strconv.Itoa(port))
	a.http = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   a.cluster.TLSConfig(),
	}}
	a.client, err = api.NewClient(&api.Config{Address: a.url, Token: a.cluster.ManagementToken, HttpClient: a.http})
	if err != nil {
		return fmt.Errorf("make an API client for %s: %w", a.Name, err)
	}
	return a.writeConfig(config)
}

// issue gives the agent a certificate.
func (a *Agent) issue(lifetime time.Duration) error {
	dc := a.cluster.opts.Datacenter
	// "server.<dc>.consul" is what agents demand of servers; the name with the
	// node in front is what servers demand of each other for gRPC.
	names := []string{"client." + dc + ".consul", a.Name, "localhost"}
	if a.Server {
		names = []string{"server." + dc + ".consul", a.Name + ".server." + dc + ".consul", "localhost"}
	}
	var err error
	a.certFile, a.keyFile, err = a.cluster.ca.issue(a.Name, lifetime, names, net.ParseIP(a.Addr))
	return err
}

func (a *Agent) writeConfig(config map[string]any) error {
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the configuration of %s: %w", a.Name, err)
	}
	if err := os.WriteFile(a.configFile, text, 0o600); err != nil {
		return fmt.Errorf("write the configuration of %s: %w", a.Name, err)
	}
	return nil
}

// start starts the process. The caller holds the lock change.
func (a *Agent) start() error {
	log, err := os.OpenFile(a.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", a.Name, err)
	}
	// The process has a descriptor of its own.
	defer func() { _ = log.Close() }()
	p, err := a.cluster.launcher.start(a.cluster.binary, []string{"agent", "-config-file=" + a.configFile}, log)
	if err != nil {
		return fmt.Errorf("start %s: %w", a.Name, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.proc, a.paused = p, false
	return nil
}

// waitAPI waits until the agent answers a request by HTTP. Any answer will do:
// without servers, a client answers with an error.
func (a *Agent) waitAPI(ctx context.Context) error {
	return poll(ctx, a.Name+" to answer", func(ctx context.Context) error {
		if err := a.ended(); err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+"/v1/status/leader", nil)
		if err != nil {
			return fatal(err)
		}
		response, err := a.http.Do(request)
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
}

// ended returns a fatal error with the end of the log if the agent's process has ended, for those who wait for it.
func (a *Agent) ended() error {
	p, _ := a.process()
	if p == nil || p.running() {
		return nil
	}
	lines := a.Logs()
	lines = lines[max(0, len(lines)-5):]
	var tail strings.Builder
	for _, line := range lines {
		tail.WriteString("\n\t" + line.Raw)
	}
	return fatal(fmt.Errorf("%s has ended with %s; its last lines:%s", a.Name, p.exitState(), tail.String()))
}

// answering says whether the agent can be expected to answer requests.
func (a *Agent) answering() bool {
	p, paused := a.process()
	return p.running() && !paused
}

func (a *Agent) process() (p *process, paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.proc, a.paused
}

func (a *Agent) setPaused(paused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paused = paused
}
