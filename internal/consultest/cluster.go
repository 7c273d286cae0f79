// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package consultest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// A BootstrapMode says how the servers of a cluster find together.
type BootstrapMode int

const (
	// BootstrapExpect makes one cluster of all servers, which wait for each other before they elect a leader.
	BootstrapExpect BootstrapMode = iota
	// BootstrapAlone makes each server a cluster of its own, with itself as the leader and no knowledge of the others.
	// Join lets their gossip pools merge, but each stays a leader: a split brain. Clients join the first server.
	BootstrapAlone
)

// Options describe a cluster. The zero value is one of three servers without TLS, encryption and ACLs.
type Options struct {
	// Servers is the number of servers, 99 at most; default 3.
	Servers int
	// Clients is the number of client agents, 99 at most; default 0.
	Clients int
	// Datacenter is the name of the datacenter; default "dc1".
	Datacenter string
	// TLS turns on mutual TLS for RPC, for the API, which is HTTPS then and wants a client certificate, and for gRPC.
	// Cluster.CACert and its neighbours are the files that an API client needs.
	TLS bool
	// CertLifetime is how long the certificates of the agents are valid, from now on; default 24 h. The authority and
	// the API client's certificate are valid for as long, and at least for 24 h.
	CertLifetime time.Duration
	// GossipKey encrypts gossip. It is 32 bytes in base64, as "consul keygen" prints them; empty means no encryption.
	GossipKey string
	// ACL turns on ACLs with the default policy "deny". Cluster.ManagementToken may do anything then.
	ACL bool
	// Bootstrap says how the servers find together; default BootstrapExpect.
	Bootstrap BootstrapMode
	// Deviations are the settings in which the agents differ from Consul's defaults, each with its reason.
	Deviations []Deviation
	// Config is merged over the configuration of each agent, key by key at any depth, for example to switch a port off:
	//
	//	map[string]any{"ports": map[string]any{"dns": -1}}
	//
	// It is for what a test is about. How long things take, and what becomes of dead servers, only Deviations change.
	Config map[string]any
	// AgentConfig returns what is merged over that for the agent of this role, "server" or "client", and number, counted
	// from 1; nil is nothing. A file or key that this package sets is taken away by "".
	AgentConfig func(role string, i int) map[string]any
	// Absent is how many of the servers, the last ones, are not started. As bootstrap_expect counts them, there is no
	// leader before Restart has started the last of them, and New waits for the others' APIs only.
	Absent int
	// Network is the first address of a network whose addresses, which differ in the last byte, are all local, such as
	// "fd00:c::"; default a free one in 127.0.0.0/8.
	Network string
	// Socket has each agent serve its API on a unix socket, too: Agent.Socket.
	Socket bool
	// NodeName returns the name of the agent of this role and number, counted from 1; default "server-1" and so on.
	NodeName func(role string, i int) string
}

// A Cluster is a number of Consul agents that were started together.
type Cluster struct {
	// Servers and Clients are the agents, whatever state they are in.
	Servers, Clients []*Agent
	// ManagementToken is a token that may do anything; "" without ACLs.
	ManagementToken string
	// CACert is the file with the certificate of the authority that signs all others; "" without TLS.
	CACert string
	// ClientCert and ClientKey are the files with a certificate and its key for an API client; "" without TLS.
	ClientCert, ClientKey string

	opts     Options
	binary   string
	dir      string // holds everything that the cluster writes
	net      *subnet
	launcher launcher
	ca       *authority  // nil without TLS
	tls      *tls.Config // nil without TLS

	close func() error // does the work of Close once
}

// startTimeout is how long a cluster may take to start in a test: plenty, as its first election takes up to twenty
// seconds and a machine can be busy with other clusters.
const startTimeout = 2 * time.Minute

// Start waits for the test's turn, starts a cluster, and waits until it is ready for use. The test fails at once if
// that is not possible. The cluster is closed when the test has ended; if it has failed, the end of each agent's log
// is printed.
func Start(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	WaitTurn(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	c, err := New(ctx, opts)
	if err != nil {
		tb.Fatalf("start a Consul cluster: %v", err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			for _, agent := range c.Agents() {
				tb.Logf("the last lines that %s (%s) logged:%s", agent, agent.Addr, agent.logTail(20))
			}
		}
		if err := c.Close(); err != nil {
			tb.Errorf("close the Consul cluster: %v", err)
		}
	})
	return c
}

// New starts a cluster and waits until it is ready for use: all agents respond and know each other, and there is a
// leader. The caller must Close it. If the context ends first, there is no cluster and nothing to close.
func New(ctx context.Context, opts Options) (*Cluster, error) {
	opts.Servers = cmp.Or(opts.Servers, 3)
	opts.Datacenter = cmp.Or(opts.Datacenter, "dc1")
	opts.CertLifetime = cmp.Or(opts.CertLifetime, defaultCertLifetime)
	if opts.NodeName == nil {
		opts.NodeName = func(role string, i int) string { return role + "-" + strconv.Itoa(i) }
	}
	binary, err := toolbox.Path("consul")
	if err != nil {
		return nil, err
	}
	network, err := claimSubnet(ctx, opts.Network)
	if err != nil {
		return nil, err
	}
	dir, err := MakeTempDir("consultest-")
	if err != nil {
		return nil, errors.Join(err, network.claim.Close())
	}
	c := &Cluster{opts: opts, binary: binary, dir: dir, net: network}
	c.close = sync.OnceValue(func() error {
		return errors.Join(c.launcher.close(), os.RemoveAll(c.dir), c.net.claim.Close())
	})
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// start does the work of New. On an error, what was started runs on until Close.
func (c *Cluster) start(ctx context.Context) error {
	if c.opts.TLS {
		if err := c.startTLS(); err != nil {
			return err
		}
	}
	if c.opts.ACL {
		c.ManagementToken = newUUID()
	}
	for i := 1; i <= c.opts.Servers; i++ {
		c.Servers = append(c.Servers, c.newAgent("server", i, i))
	}
	for i := 1; i <= c.opts.Clients; i++ {
		c.Clients = append(c.Clients, c.newAgent("client", i, 100+i))
	}
	for _, agent := range c.Agents() {
		if err := agent.prepare(); err != nil {
			return err
		}
	}
	present := slices.Concat(c.Servers[:len(c.Servers)-c.opts.Absent], c.Clients)
	for _, agent := range present {
		if err := agent.start(); err != nil {
			return err
		}
	}
	for _, agent := range present {
		if err := agent.waitAPI(ctx); err != nil {
			return err
		}
	}
	if c.opts.Absent > 0 {
		return nil
	}
	return c.waitReady(ctx)
}

func (c *Cluster) startTLS() (err error) {
	lifetime := max(c.opts.CertLifetime, defaultCertLifetime)
	if c.ca, err = newAuthority(c.dir, lifetime); err != nil {
		return err
	}
	c.CACert = c.ca.file
	names := []string{"client." + c.opts.Datacenter + ".consul", "localhost"}
	if c.ClientCert, c.ClientKey, err = c.ca.issue("api-client", lifetime, names); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	if err != nil {
		return fmt.Errorf("load the API client's certificate: %w", err)
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(c.ca.cert)
	c.tls = &tls.Config{RootCAs: authorities, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return nil
}

func (c *Cluster) newAgent(role string, i, host int) *Agent {
	return &Agent{
		Name:    c.opts.NodeName(role, i),
		Addr:    c.net.address(host),
		Server:  role == "server",
		role:    role,
		index:   i,
		cluster: c,
		file:    filepath.Join(c.dir, role+"-"+strconv.Itoa(i)),
	}
}

// waitReady waits until the agents that were just started are a cluster, or one of each server with BootstrapAlone.
func (c *Cluster) waitReady(ctx context.Context) error {
	groups := [][]*Agent{c.Agents()} // The agents that find together without any Join.
	if c.opts.Bootstrap == BootstrapAlone {
		groups[0] = slices.Concat(c.Servers[:1], c.Clients)
		for _, server := range c.Servers[1:] {
			groups = append(groups, []*Agent{server})
		}
	}
	for _, agents := range groups {
		servers := slices.DeleteFunc(slices.Clone(agents), func(a *Agent) bool { return !a.Server })
		leader, err := waitLeader(ctx, servers)
		if err != nil {
			return err
		}
		if err := waitMembers(ctx, agents, len(agents)); err != nil {
			return err
		}
		if err := waitCatalog(ctx, leader, len(agents)); err != nil {
			return err
		}
	}
	if c.opts.ACL {
		return waitToken(ctx, c.ManagementToken, c.Agents())
	}
	return nil
}

// Close kills all agents and removes all that the cluster has written. Calling it again does nothing and returns the
// same.
func (c *Cluster) Close() error { return c.close() }

// Agents returns the servers and then the clients.
func (c *Cluster) Agents() []*Agent { return slices.Concat(c.Servers, c.Clients) }

// TLSConfig returns the TLS configuration of an API client: it trusts the cluster's authority and shows the client
// certificate. It is nil without TLS, as Clone returns nil for nil.
func (c *Cluster) TLSConfig() *tls.Config { return c.tls.Clone() }

// Join makes one agent join the gossip pool of another, as "consul join" does.
func (c *Cluster) Join(ctx context.Context, from, to *Agent) error {
	if _, err := from.client.Raw().Write("/v1/agent/join/"+to.Addr, nil, nil, write(ctx)); err != nil {
		return fmt.Errorf("join %s to %s: %w", from, to, err)
	}
	return nil
}

// NewToken creates an ACL token with a policy of these rules, such as `operator = "read"`, and waits until all
// running servers know it. It needs a leader and Options.ACL.
func (c *Cluster) NewToken(ctx context.Context, rules string) (string, error) {
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return "", fmt.Errorf("create a token: %w", err)
	}
	policy := &api.ACLPolicy{Name: "consultest-" + rand.Text(), Rules: rules}
	policy, _, err = leader.client.ACL().PolicyCreate(policy, write(ctx))
	if err != nil {
		return "", fmt.Errorf("create a policy: %w", err)
	}
	token := &api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}
	token, _, err = leader.client.ACL().TokenCreate(token, write(ctx))
	if err != nil {
		return "", fmt.Errorf("create a token: %w", err)
	}
	return token.SecretID, waitToken(ctx, token.SecretID, c.Servers)
}

// TransferLeadership makes a server the leader, and waits until all others follow it. It does nothing if it is the
// leader already.
func (c *Cluster) TransferLeadership(ctx context.Context, to *Agent) error {
	return Poll(ctx, to.Name+" to lead", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err != nil || leader == to {
			return err
		}
		config, err := leader.client.Operator().RaftGetConfiguration(read(ctx))
		if err != nil {
			return fmt.Errorf("ask %s for the Raft configuration: %w", leader, err)
		}
		i := slices.IndexFunc(config.Servers, func(s *api.RaftServer) bool { return s.Node == to.Name })
		if i < 0 {
			return fmt.Errorf("%s is not in the Raft configuration", to)
		}
		if _, err := leader.client.Operator().RaftLeaderTransfer(config.Servers[i].ID, read(ctx)); err != nil {
			return fmt.Errorf("transfer the leadership from %s to %s: %w", leader, to, err)
		}
		return fmt.Errorf("%s led until now", leader)
	})
}

// MakeTempDir creates a temporary folder whose name is the prefix, the id of this process and a number. It removes
// those with the same prefix whose process is dead: one that was killed or panicked could not do it itself. What
// cannot be removed, such as another user's, stays.
func MakeTempDir(prefix string) (string, error) {
	removeStale(os.TempDir(), prefix)
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("create a temporary folder: %w", err)
	}
	return dir, nil
}

func removeStale(tempDir, prefix string) {
	dirs, err := filepath.Glob(filepath.Join(tempDir, prefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && pid > 0 && !processAlive(pid) {
			_ = os.RemoveAll(dir)
		}
	}
}

// newUUID returns a random token in the form of a UUID, which Consul wants.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // It never fails.
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
