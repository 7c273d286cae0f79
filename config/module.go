// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/files"
	"github.com/zervigo/consul_cluster_exporter/internal/wording"
)

// Secret is text that is never printed.
type Secret string

func (Secret) String() string { return "<secret>" }

// GoString keeps %#v from printing it.
func (Secret) GoString() string { return "<secret>" }

// Module is everything needed to watch a cluster, as it is written. docs/config.example.yml says what each key means.
// A field is an option: see Option for its tags.
type Module struct {
	Targets          []string      `yaml:"targets" flag:"-"`
	Scheme           string        `yaml:"scheme" flag:"-" default:"http"`
	Port             int           `yaml:"port" flag:"-"` // 0: 8500 with http, 8501 with https.
	TLS              TLS           `yaml:"tls"`
	BasicAuth        BasicAuth     `yaml:"basic_auth"`
	Timeout          time.Duration `yaml:"timeout" flag:"consul.timeout" default:"2s"`
	TokenFile        string        `yaml:"token_file" flag:"consul.token-file" env:"CONSUL_HTTP_TOKEN_FILE"`
	Datacenter       string        `yaml:"datacenter" flag:"consul.datacenter"`
	Namespace        string        `yaml:"namespace" flag:"consul.namespace" env:"CONSUL_NAMESPACE"`
	Partition        string        `yaml:"partition" flag:"consul.partition" env:"CONSUL_PARTITION"`
	Consistency      string        `yaml:"consistency" flag:"-" default:"stale"`
	RequestLimit     int           `yaml:"request_limit" flag:"consul.request-limit" default:"0"`
	MaxResponseBytes Bytes         `yaml:"max_response_bytes" flag:"consul.max-response-bytes" default:"64MiB"`
	RPC              RPC           `yaml:"rpc"`
	Serf             Serf          `yaml:"serf"`
	DNS              DNS           `yaml:"dns"`
	Probe            Probe         `yaml:"probe"`
	AgentOnly        bool          `yaml:"agent_only" flag:"consul.agent-only,serve"`
	Catalog          Catalog       `yaml:"catalog"`
	KV               KV            `yaml:"kv"`
	Consistent       Consistent    `yaml:"consistent"`
	Collectors       []string      `yaml:"collectors" flag:"-"` // nil: those that are on by default.

	// Token is used when there is no TokenFile. It cannot be written into a configuration file.
	Token Secret `yaml:"-"`
}

// TLS says how to verify the agent's HTTPS API and how to be verified by it.
type TLS struct {
	CAFile     string `yaml:"ca_file" flag:"consul.ca-file" env:"CONSUL_CACERT"`
	CAPath     string `yaml:"ca_path" flag:"-"`
	CertFile   string `yaml:"cert_file" flag:"consul.cert-file" env:"CONSUL_CLIENT_CERT"`
	KeyFile    string `yaml:"key_file" flag:"consul.key-file" env:"CONSUL_CLIENT_KEY"`
	ServerName string `yaml:"server_name" flag:"consul.server-name" env:"CONSUL_TLS_SERVER_NAME"`
	Insecure   bool   `yaml:"insecure" flag:"consul.insecure" env:"CONSUL_HTTP_SSL_VERIFY=false"`
}

// BasicAuth is for a proxy in front of Consul.
type BasicAuth struct {
	Username     string `yaml:"username" flag:"-"`
	PasswordFile string `yaml:"password_file" flag:"-"`

	// UserPassword is user:password, and is used in place of the other two. It cannot be written into a configuration
	// file.
	UserPassword Secret `yaml:"-"`
}

// RPC says how to speak to port 8300. Files that are missing are those of TLS; certificate and key only together. The
// name of an agent says nothing about the servers': without ServerName it is server.<datacenter>.<domain>.
type RPC struct {
	TLS        string `yaml:"tls" flag:"rpc.tls" default:"auto"`
	CAFile     string `yaml:"ca_file" flag:"rpc.ca-file"`
	CertFile   string `yaml:"cert_file" flag:"rpc.cert-file"`
	KeyFile    string `yaml:"key_file" flag:"rpc.key-file"`
	ServerName string `yaml:"server_name" flag:"rpc.server-name"`
}

// Serf says how to speak to the gossip ports, 8301 and 8302.
type Serf struct {
	EncryptKeyFile string `yaml:"encrypt_key_file" flag:"serf.encrypt-key-file"`
}

// DNS says how to speak to port 8600.
type DNS struct {
	Domain string `yaml:"domain" flag:"dns.domain"`
}

// Probe says which ports are probed, and how.
type Probe struct {
	Timeout     time.Duration `yaml:"timeout" flag:"probe.timeout" default:"3s"`
	Concurrency int           `yaml:"concurrency" flag:"probe.concurrency" default:"64"`
	Protocols   []string      `yaml:"protocols" flag:"probe.protocols"` // nil: all.
	ClientPorts string        `yaml:"client_ports" flag:"probe.client-ports" default:"auto"`
}

// Catalog says what of the catalog is exported. The filters are regular expressions; empty means all, but for
// MetaFilter none.
type Catalog struct {
	HealthSummary bool   `yaml:"health_summary" flag:"consul.health-summary,serve" default:"true"`
	Instances     bool   `yaml:"instances" flag:"collector.catalog.instances,serve" default:"true"`
	MaxSeries     int    `yaml:"max_series" flag:"collector.catalog.max-series,serve" default:"500000"`
	ServiceFilter string `yaml:"service_filter" flag:"collector.catalog.service-filter,serve"`
	NodeFilter    string `yaml:"node_filter" flag:"collector.catalog.node-filter,serve"`
	TagFilter     string `yaml:"tag_filter" flag:"collector.catalog.tag-filter,serve"`
	CheckFilter   string `yaml:"check_filter" flag:"collector.catalog.check-filter,serve"`
	MetaFilter    string `yaml:"meta_filter" flag:"meta.filter,serve" default:"^$"`
}

// KV says which keys are exported: those that begin with the prefix and match the filter. Without a prefix there are
// none.
type KV struct {
	Prefix string `yaml:"prefix" flag:"kv.prefix,serve"`
	Filter string `yaml:"filter" flag:"kv.filter,serve" default:".*"`
}

// Consistent says how the linearizable read is made.
type Consistent struct {
	Timeout time.Duration `yaml:"timeout" flag:"collector.consistent.timeout,serve" default:"1s"`
}

// UnmarshalYAML begins with the defaults. This form of the method, unlike that with a node, keeps unknown keys errors.
func (m *Module) UnmarshalYAML(unmarshal func(any) error) error {
	type plain Module // Without this method.
	*m = DefaultModule()
	return unmarshal((*plain)(m))
}

// resolve makes the paths of files relative to a folder.
func (m *Module) resolve(folder string) {
	for _, o := range m.Options() {
		isPath := strings.HasSuffix(o.Key, "_file") || strings.HasSuffix(o.Key, "_path")
		if path, ok := o.Value.(*string); ok && isPath && *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(folder, *path)
		}
	}
}

// Problem is something wrong with a module.
type Problem struct {
	// Key is that of the configuration file, such as "serf.encrypt_key_file".
	Key string
	Err error
}

func (p Problem) Error() string { return p.Key + ": " + p.Err.Error() }

func (p Problem) Unwrap() error { return p.Err }

// ValidModule is a module after validation: what its words mean, and what its files hold. It never changes, except
// for the files that are read again when they change: the token, the gossip keys, the authorities and the client
// certificates.
type ValidModule struct {
	written  Module // A deep copy.
	port     uint16
	tls, rpc *consul.TLS
	token    func() string
	// watched are the files that are read again.
	watched    []cluster.WatchedFile
	basicAuth  *api.HttpBasicAuth
	serfKeys   func() [][]byte
	protocols  []cluster.Protocol
	settings   collector.Settings
	collectors []string
	targets    allowList
}

// Validate reads the module's files and returns what can be used, or else all problems at once. A file that cannot be
// read again later is a problem that warn gets, once until it is well again; nil means that nobody wants to know.
func (m Module) Validate(warn func(Problem)) (*ValidModule, []Problem) {
	if warn == nil {
		warn = func(Problem) {}
	}
	m.Collectors = slices.Clone(m.Collectors)
	m.Targets = slices.Clone(m.Targets)
	m.Probe.Protocols = slices.Clone(m.Probe.Protocols)
	v := &validation{warn: warn, ValidModule: ValidModule{written: m}}
	v.agent()
	v.certificates()
	v.credentials()
	v.reads()
	v.servers()
	v.filters()
	v.names()
	if len(v.problems) > 0 {
		return nil, v.problems
	}
	return &v.ValidModule, nil
}

// validation is a ValidModule in the making.
type validation struct {
	ValidModule
	warn     func(Problem)
	problems []Problem
}

// note keeps an error, or each of those that it joins.
func (v *validation) note(key string, err error) {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &joined):
		for _, e := range joined.Unwrap() {
			v.note(key, e)
		}
	default:
		v.problems = append(v.problems, Problem{key, wording.WithExample(err, exampleOf(key))})
	}
}

// later returns what to call when the file of a key cannot be read any more.
func (v *validation) later(key string) func(error) {
	return func(err error) { v.warn(Problem{key, err}) }
}

func (v *validation) agent() {
	m := &v.written
	v.note("scheme", oneOf(m.Scheme, []string{"http", "https"}))
	switch {
	case m.Port < 0 || m.Port > 65535:
		v.note("port", fmt.Errorf("%d is no port", m.Port))
	case m.Port != 0:
		v.port = uint16(m.Port)
	case m.Scheme == "https":
		v.port = uint16(cluster.ProtocolHTTPS.DefaultPort())
	default:
		v.port = uint16(cluster.ProtocolHTTP.DefaultPort())
	}
}

// certificates reads the files for TLS; first one by one, to say which is wrong.
func (v *validation) certificates() {
	m := &v.written
	authorities := "tls.ca_file"
	if m.TLS.CAFile == "" {
		authorities = "tls.ca_path"
	}
	before := len(v.problems)
	for _, part := range []struct {
		key   string
		files consul.TLSFiles
	}{
		{authorities, consul.TLSFiles{CAFile: m.TLS.CAFile, CAPath: m.TLS.CAPath}},
		{"tls.cert_file", consul.TLSFiles{CertFile: m.TLS.CertFile, KeyFile: m.TLS.KeyFile}},
		{"rpc.ca_file", consul.TLSFiles{CAFile: m.RPC.CAFile}},
		{"rpc.cert_file", consul.TLSFiles{CertFile: m.RPC.CertFile, KeyFile: m.RPC.KeyFile}},
	} {
		_, err := part.files.Open(nil)
		v.note(part.key, err)
	}
	if len(v.problems) > before {
		return
	}
	files := consul.TLSFiles(m.TLS)
	v.tls = v.open("tls", files)
	rpc := files
	rpc.ServerName = m.RPC.ServerName
	if m.RPC.CAFile != "" {
		rpc.CAFile, rpc.CAPath = m.RPC.CAFile, ""
	}
	if m.RPC.CertFile != "" {
		rpc.CertFile, rpc.KeyFile = m.RPC.CertFile, m.RPC.KeyFile
	}
	v.rpc = v.open("rpc", rpc)
}

// open opens files for TLS, which have been found good before.
func (v *validation) open(key string, files consul.TLSFiles) *consul.TLS {
	opened, err := files.Open(v.later(key))
	v.note(key, err)
	if err == nil {
		v.watched = append(v.watched, opened)
	}
	return opened
}

func (v *validation) credentials() {
	m := &v.written
	if m.TokenFile == "" {
		token := string(m.Token)
		v.token = func() string { return token }
	} else if f, err := consul.NewTokenFile(m.TokenFile, v.later("token_file")); err != nil {
		v.note("token_file", err)
	} else {
		v.token, v.watched = f.Token, append(v.watched, f)
	}

	v.note("basic_auth", v.authenticate(m.BasicAuth))
}

// authenticate reads the password's file.
func (v *validation) authenticate(auth BasicAuth) error {
	var user, password string
	switch {
	case auth == BasicAuth{}:
		return nil
	case auth.UserPassword != "":
		var ok bool
		if user, password, ok = strings.Cut(string(auth.UserPassword), ":"); !ok {
			return errors.New("want user:password")
		}
	case auth.Username == "":
		return errors.New("there is a password_file and no username")
	case auth.PasswordFile == "":
		return errors.New("there is a username and no password_file")
	default:
		content, err := files.Read(auth.PasswordFile)
		if err != nil {
			return fmt.Errorf("password: %w", err)
		}
		user, password = auth.Username, strings.TrimRight(string(content), "\r\n")
		if password == "" {
			return fmt.Errorf("password file %s is empty", auth.PasswordFile)
		}
	}
	v.basicAuth = &api.HttpBasicAuth{Username: user, Password: password}
	return nil
}

// minResponseBytes is enough for a small cluster.
const minResponseBytes Bytes = 64 << 10

// reads checks how the HTTP API is read.
func (v *validation) reads() {
	m := &v.written
	v.note("consistency", oneOf(m.Consistency, texts(consul.Consistencies())))
	v.note("timeout", positive(m.Timeout))
	v.note("request_limit", notNegative(m.RequestLimit))
	if m.MaxResponseBytes < minResponseBytes {
		v.note("max_response_bytes", fmt.Errorf("%s is less than %s", m.MaxResponseBytes, minResponseBytes))
	}
	v.note("consistent.timeout", positive(m.Consistent.Timeout))
}

// filters compiles what selects the series of catalog and KV.
func (v *validation) filters() {
	m := &v.written
	v.note("catalog.max_series", notNegative(m.Catalog.MaxSeries))
	v.settings.Catalog = collector.CatalogSettings{
		HealthSummary: m.Catalog.HealthSummary,
		Instances:     m.Catalog.Instances,
		MaxSeries:     m.Catalog.MaxSeries,
		Services:      v.filter("catalog.service_filter", m.Catalog.ServiceFilter),
		Nodes:         v.filter("catalog.node_filter", m.Catalog.NodeFilter),
		Tags:          v.filter("catalog.tag_filter", m.Catalog.TagFilter),
		Checks:        v.filter("catalog.check_filter", m.Catalog.CheckFilter),
		Meta:          v.filter("catalog.meta_filter", m.Catalog.MetaFilter),
	}
	v.settings.KVFilter = v.filter("kv.filter", m.KV.Filter)
}

// filter returns nil for an expression that selects by being absent.
func (v *validation) filter(key, expression string) *regexp.Regexp {
	if expression == "" {
		return nil
	}
	r, err := regexp.Compile(expression)
	if err != nil {
		v.note(key,
			fmt.Errorf("%q is no regular expression: %s", expression, strings.TrimPrefix(err.Error(), "error parsing regexp: ")))
	}
	return r
}

// servers checks how the servers' ports are probed.
func (v *validation) servers() {
	m := &v.written
	v.note("rpc.tls", oneOf(m.RPC.TLS, texts(cluster.RPCTLSChoices())))
	if m.Serf.EncryptKeyFile != "" {
		f, err := consul.NewKeyFile(m.Serf.EncryptKeyFile, v.later("serf.encrypt_key_file"))
		v.note("serf.encrypt_key_file", err)
		if err == nil {
			v.serfKeys, v.watched = f.Keys, append(v.watched, f)
		}
	}
	if m.DNS.Domain != "" && !isName(m.DNS.Domain) {
		v.note("dns.domain", fmt.Errorf("%q is no domain", m.DNS.Domain))
	}
	v.note("probe.timeout", positive(m.Probe.Timeout))
	if m.Probe.Concurrency < 1 {
		v.note("probe.concurrency", fmt.Errorf("%d is less than 1", m.Probe.Concurrency))
	}
	var err error
	if m.Probe.Protocols != nil && len(m.Probe.Protocols) == 0 {
		err = errEmptyList
	} else {
		v.protocols, err = cluster.ParseProtocols(m.Probe.Protocols)
	}
	v.note("probe.protocols", err)
	v.note("probe.client_ports", oneOf(m.Probe.ClientPorts, texts(cluster.ClientPortsChoices())))
}

// errEmptyList means that someone may have meant none where nothing means all.
var errEmptyList = errors.New("the list is empty; leave the key out for the default")

// names checks collectors and targets.
func (v *validation) names() {
	m := &v.written
	var on, ofAgent, all []string
	for _, c := range collector.All() {
		all = append(all, c.Name)
		if c.AgentOnly {
			ofAgent = append(ofAgent, c.Name)
		}
		if c.Enabled {
			on = append(on, c.Name)
		}
	}
	v.collectors = slices.Clone(m.Collectors)
	if m.Collectors == nil {
		v.collectors = on
	} else if len(m.Collectors) == 0 {
		v.note("collectors", errEmptyList)
	}
	if m.AgentOnly {
		v.collectors = slices.DeleteFunc(v.collectors, func(name string) bool { return !slices.Contains(ofAgent, name) })
		if len(v.collectors) == 0 {
			v.note("agent_only",
				fmt.Errorf("none of the collectors is about the agent alone; want some of: %s", strings.Join(ofAgent, ", ")))
		}
	}
	for _, name := range m.Collectors {
		if !slices.Contains(all, name) {
			v.note("collectors", fmt.Errorf("there is no collector %q; there are: %s", name, strings.Join(all, ", ")))
		}
	}
	for _, entry := range m.Targets {
		a, err := parseAllowed(entry)
		v.note("targets", err)
		v.targets = append(v.targets, a)
	}
}

func positive(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s is not above 0", d)
	}
	return nil
}

func notNegative(n int) error {
	if n < 0 {
		return fmt.Errorf("%d is less than 0", n)
	}
	return nil
}

func oneOf(word string, choices []string) error {
	if slices.Contains(choices, word) {
		return nil
	}
	return fmt.Errorf("%q is unknown; want one of: %s", word, strings.Join(choices, ", "))
}

func texts[T ~string](words []T) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		out = append(out, string(w))
	}
	return out
}

// Collectors returns the names of the collectors to run.
func (m *ValidModule) Collectors() []string { return slices.Clone(m.collectors) }

// Settings returns what the collectors export.
func (m *ValidModule) Settings() collector.Settings { return m.settings }

// Options returns what a Cluster is made from whose agent is at an address that the operator has chosen. The cluster
// may name any host; see Target for an address from anyone else.
func (m *ValidModule) Options(address consul.Address) cluster.Options {
	return cluster.Options{
		Client: consul.Options{
			Address:      address,
			TLS:          m.tls,
			Token:        m.token,
			BasicAuth:    m.basicAuth,
			Datacenter:   m.written.Datacenter,
			Namespace:    m.written.Namespace,
			Partition:    m.written.Partition,
			Consistency:  consul.Consistency(m.written.Consistency),
			RequestLimit: m.written.RequestLimit,
			Timeout:      m.written.Timeout,

			MaxResponseBytes: int64(m.written.MaxResponseBytes),
		},
		Ports: cluster.PortOptions{
			Timeout:      m.written.Probe.Timeout,
			Concurrency:  m.written.Probe.Concurrency,
			Protocols:    slices.Clone(m.protocols),
			ClientPorts:  cluster.ClientPorts(m.written.Probe.ClientPorts),
			RPCTLS:       cluster.RPCTLS(m.written.RPC.TLS),
			RPCTLSConfig: m.rpc,
			SerfKeys:     m.serfKeys,
			DNSDomain:    m.written.DNS.Domain,
		},
		ConsistentTimeout: m.written.Consistent.Timeout,
		KVPrefix:          m.written.KV.Prefix,
		AgentOnly:         m.written.AgentOnly,
		Watched:           slices.Clone(m.watched),
	}
}

// same reports whether the other module was made from the same words and the same files, so that either can go on in
// place of the other. Files that are read again when they change do not matter.
func (m *ValidModule) same(other *ValidModule) bool {
	return reflect.DeepEqual(m.written, other.written) && reflect.DeepEqual(m.basicAuth, other.basicAuth)
}
