// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
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

	role              string // what Options call it
	index             int    // among the agents of its role, from 1
	cluster           *Cluster
	file              string // what the names of the agent's files begin with
	certFile, keyFile string // "" without TLS
	url               string
	client            *api.Client

	change sync.Mutex              // held while the process is started, stopped or signalled
	proc   atomic.Pointer[process] // the latest process; nil before the first start
}

// String returns the agent's name.
func (a *Agent) String() string { return a.Name }

func (a *Agent) configFile() string { return a.file + ".json" }
func (a *Agent) dataDir() string    { return a.file + "-data" }

// NodeID returns the agent's node ID, which it writes down when it starts for the first time; empty before.
func (a *Agent) NodeID() string {
	id, _ := os.ReadFile(filepath.Join(a.dataDir(), "node-id"))
	return strings.TrimSpace(string(id))
}

// logFile is appended to by every process of the agent.
func (a *Agent) logFile() string { return a.file + ".log" }

// Socket returns the path of the unix socket of the agent's API, which exists with Options.Socket.
func (a *Agent) Socket() string { return a.file + ".sock" }

// HostPort returns the address of one of the agent's ports, to dial it.
func (a *Agent) HostPort(port int) string { return net.JoinHostPort(a.Addr, strconv.Itoa(port)) }

// URL returns the base of the agent's HTTP API: http://127.x.y.z:8500, or https://127.x.y.z:8501 with Options.TLS.
func (a *Agent) URL() string { return a.url }

// Client returns a client of the agent's HTTP API that uses the management token and the cluster's certificates, if
// there are any. It opens a connection for each request and closes it afterwards, so that it leaves no goroutine and
// no connection behind. It has no timeout: give each request a context.
func (a *Agent) Client() *api.Client { return a.client }

// Pid returns the process id of the agent's latest process.
func (a *Agent) Pid() int {
	if p := a.proc.Load(); p != nil {
		return p.cmd.Process.Pid
	}
	return 0
}

// Running says whether the agent's process exists. It also does between Stop and Continue.
func (a *Agent) Running() bool { return a.proc.Load().running() }

// answering says whether the agent can be expected to answer requests.
func (a *Agent) answering() bool {
	p := a.proc.Load()
	return p.running() && !p.paused.Load()
}

// Kill ends the agent's process at once, as a crash or a power failure would, and waits until it is gone. It does
// nothing if the agent is not running.
func (a *Agent) Kill() error {
	a.change.Lock()
	defer a.change.Unlock()
	return a.proc.Load().kill()
}

// Stop freezes the agent's process with SIGSTOP and waits until it is frozen. The kernel still accepts connections to
// its ports, but nothing responds, as with a full disk, a deadlock or a hung machine. The other agents consider it
// failed after some seconds. On Windows it is an error.
func (a *Agent) Stop() error {
	return a.withProcess("stop", func(p *process) error {
		if p.paused.Load() {
			return nil
		}
		if err := p.cmd.Process.Signal(sigStop); err != nil {
			return err
		}
		p.paused.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return Poll(ctx, "the process to be stopped", func(context.Context) error {
			if !processPaused(p.cmd.Process.Pid) {
				return errors.New("it still runs")
			}
			return nil
		})
	})
}

// Continue lets an agent go on after Stop. It does nothing if the agent was not stopped.
func (a *Agent) Continue() error {
	return a.withProcess("continue", func(p *process) error {
		if !p.paused.Load() {
			return nil
		}
		err := p.cmd.Process.Signal(sigContinue)
		p.paused.Store(err != nil)
		return err
	})
}

// withProcess does something to the running process of the agent, and nothing else at the same time.
func (a *Agent) withProcess(what string, do func(*process) error) error {
	a.change.Lock()
	defer a.change.Unlock()
	p := a.proc.Load()
	if !p.running() {
		return fmt.Errorf("%s %s: it is not running", what, a)
	}
	if err := do(p); err != nil {
		return fmt.Errorf("%s %s: %w", what, a, err)
	}
	return nil
}

// Restart kills the agent if it is running, starts it on the data and at the address that it had, and waits until its
// HTTP API responds; use WaitLeader and WaitMembers to wait until it is part of the cluster again.
func (a *Agent) Restart(ctx context.Context) error {
	a.change.Lock()
	defer a.change.Unlock()
	if err := a.proc.Load().kill(); err != nil {
		return err
	}
	if err := a.start(); err != nil {
		return err
	}
	return a.waitAPI(ctx)
}

// Configure merges more over the agent's configuration, as Options.Config is. It takes effect with the next Restart.
func (a *Agent) Configure(more map[string]any) error {
	config, err := a.cluster.config(a, more)
	if err != nil {
		return err
	}
	return a.writeConfig(config)
}

// Certify gives the running agent another certificate, valid from now on for this long, or expired if that is
// negative. The agent uses it soon afterwards. It needs Options.TLS. On Windows it is an error.
func (a *Agent) Certify(lifetime time.Duration) error {
	if err := a.issue(lifetime); err != nil {
		return err
	}
	return a.withProcess("reload the configuration of", func(p *process) error {
		return p.cmd.Process.Signal(syscall.SIGHUP)
	})
}

// Leave makes the agent leave the cluster properly and waits until its process has ended, which takes a client
// some 4 s and a server some 9 s: Consul gives the others time to notice. A server gives up its vote; the other
// agents know the agent as "left". Restart brings it back.
func (a *Agent) Leave(ctx context.Context) error {
	return a.withProcess("leave with", func(p *process) error {
		_, err := a.client.Raw().Write("/v1/agent/leave", nil, nil, write(ctx))
		if _, refused := errors.AsType[api.StatusError](err); refused {
			return err
		}
		// Any other error can mean that the process ended before it responded: the end of the process is what counts.
		select {
		case <-p.done:
			return nil
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	})
}

// LogMark returns the current end of the agent's log, for LogsSince.
func (a *Agent) LogMark() int {
	info, err := os.Stat(a.logFile())
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// LogsSince returns what the agent has logged since the LogMark, or all of it since 0, across restarts. After the
// cluster's Close there is nothing left.
func (a *Agent) LogsSince(mark int) []LogLine {
	output, err := os.ReadFile(a.logFile())
	if err != nil {
		return nil
	}
	return parseLog(output[min(mark, len(output)):])
}

// logTail returns the last lines of the agent's log, each on its own line.
func (a *Agent) logTail(most int) string {
	lines := a.LogsSince(0)
	var tail strings.Builder
	for _, line := range lines[max(0, len(lines)-most):] {
		tail.WriteString("\n\t" + line.Raw)
	}
	return tail.String()
}

// prepare writes the agent's configuration and makes its API client. It is called once.
func (a *Agent) prepare() error {
	if a.cluster.ca != nil {
		if err := a.issue(a.cluster.opts.CertLifetime); err != nil {
			return err
		}
	}
	config, err := a.cluster.config(a)
	if err != nil {
		return err
	}
	scheme, port, err := apiPort(config, a.cluster.opts.TLS)
	if err != nil {
		return err
	}
	a.url = scheme + "://" + a.HostPort(port)
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: a.cluster.TLSConfig()}
	a.client, err = api.NewClient(&api.Config{
		Address: a.url, Token: a.cluster.ManagementToken, HttpClient: &http.Client{Transport: transport},
	})
	if err != nil {
		return fmt.Errorf("make an API client for %s: %w", a, err)
	}
	return a.writeConfig(config)
}

func (a *Agent) issue(lifetime time.Duration) (err error) {
	domain := a.cluster.opts.Datacenter + ".consul"
	names := []string{"client." + domain, a.Name, "localhost"}
	if a.Server {
		// Agents require the first one of servers; for gRPC, servers require the second one of each other.
		names = []string{"server." + domain, a.Name + ".server." + domain, "localhost"}
	}
	a.certFile, a.keyFile, err = a.cluster.ca.issue(a.Name, lifetime, names, net.ParseIP(a.Addr))
	return err
}

func (a *Agent) writeConfig(config map[string]any) error {
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(a.configFile(), text, 0o600)
}

// start starts the process. The caller holds the lock change.
func (a *Agent) start() error {
	log, err := os.OpenFile(a.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // The process has its own descriptor.
	p, err := a.cluster.launcher.start(a.cluster.binary, []string{"agent", "-config-file=" + a.configFile()}, log)
	if err != nil {
		return fmt.Errorf("start %s: %w", a, err)
	}
	a.proc.Store(p)
	return nil
}

// waitAPI waits until the agent responds to a request by HTTP, if only with an error, as agents do without a leader.
func (a *Agent) waitAPI(ctx context.Context) error {
	return Poll(ctx, a.Name+" to respond", func(ctx context.Context) error {
		if p := a.proc.Load(); !p.running() {
			return fatalError{fmt.Errorf("it has ended with %s; its last lines:%s", p.cmd.ProcessState, a.logTail(5))}
		}
		_, err := a.client.Status().LeaderWithQueryOptions(read(ctx))
		if _, responded := errors.AsType[api.StatusError](err); responded {
			return nil
		}
		return err
	})
}
