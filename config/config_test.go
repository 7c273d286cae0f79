// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/collector"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(tb testing.TB, path, content string) {
	tb.Helper()
	must.Do(tb, os.MkdirAll(filepath.Dir(path), 0o700))
	must.Do(tb, os.WriteFile(path, []byte(content), 0o600))
}

func collectorNames() (names []string) {
	for _, c := range collector.All() {
		names = append(names, c.Name)
	}
	return names
}

func validModule(tb testing.TB, m Module) *ValidModule {
	tb.Helper()
	valid, problems := m.Validate(nil)
	if len(problems) > 0 {
		tb.Fatal(problems)
	}
	return valid
}

// Each file is rejected with exactly what its first comments say, in which $DIR is the folder of the files and
// $COLLECTORS and $PROTOCOLS have all there are.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, error %v", len(files), err)
	}
	placeholders := strings.NewReplacer("$DIR", "testdata", "$COLLECTORS", strings.Join(collectorNames(), ", "),
		"$PROTOCOLS", strings.Join(texts(cluster.Protocols()), ", "))
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yml"), func(t *testing.T) {
			t.Parallel()
			content := must.Get(os.ReadFile(file))(t)
			want := ""
			for line := range strings.Lines(string(content)) {
				comment, ok := strings.CutPrefix(line, "# ")
				if !ok {
					break
				}
				want += file + ": " + placeholders.Replace(comment)
			}
			_, err := load(file, nil)
			if err == nil {
				t.Fatalf("got no error, want\n%s", want)
			}
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(want), "\n"), strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("problems differ (-want +got):\n%s", diff)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error has a secret: %v", err)
			}
		})
	}
}

func TestSharedKeys(t *testing.T) {
	t.Parallel()
	valid := must.Get(Open("testdata/shared.good.yml", nil))(t)
	for _, name := range []string{"a", "b"} {
		m, ok := valid.Module(name)
		if !ok {
			t.Fatalf("there is no module %s", name)
		}
		opts := m.Options(consul.Address{})
		if opts.Client.Timeout != 5*time.Second || opts.Ports.Timeout != time.Second || opts.Ports.Concurrency != 64 {
			t.Errorf("module %s: got timeouts %s and %s, concurrency %d; want 5s, 1s and the default 64",
				name, opts.Client.Timeout, opts.Ports.Timeout, opts.Ports.Concurrency)
		}
	}
	if m, _ := valid.Module("b"); m.targets.allows("localhost") || !m.targets.allows("10.1.1.1") {
		t.Error("module b has not its own targets")
	}
}

const exampleFile = "../docs/config.example.yml"

// exampleFolder has the example and the files that it names.
func exampleFolder(t *testing.T) (path string) {
	t.Helper()
	content := must.Get(os.ReadFile(exampleFile))(t)
	certs := consultest.NewCertificates(t)
	folder := t.TempDir()
	path = filepath.Join(folder, "config.yml")
	write(t, path, string(content))
	for name, from := range map[string]string{
		"ca.pem": certs.CACert, "client.pem": certs.Cert, "client.key": certs.Key,
	} {
		pem := must.Get(os.ReadFile(from))(t)
		write(t, filepath.Join(folder, "production", name), string(pem))
	}
	write(t, filepath.Join(folder, "production", "token"), "the-token\n")
	write(t, filepath.Join(folder, "production", "password"), "the-password\n")
	write(t, filepath.Join(folder, "production", "gossip-keys"), base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n")
	return path
}

func TestExample(t *testing.T) {
	t.Parallel()
	valid := must.Get(Open(exampleFolder(t), nil))(t)
	if diff := cmp.Diff([]string{"lab", "production"}, valid.Names()); diff != "" {
		t.Errorf("modules differ (-want +got):\n%s", diff)
	}
	production, _ := valid.Module("production")
	target := must.Get(production.Target("Consul.Example"))(t)
	opts := target.Options()
	if got := opts.Client.Address; got != (consul.Address{Scheme: "https", Host: "consul.example:8501"}) {
		t.Errorf("got address %v", got)
	}
	if got := opts.Client.Token(); got != "the-token" {
		t.Errorf("got token %q", got)
	}
	if auth := opts.Client.BasicAuth; auth.Username != "exporter" || auth.Password != "the-password" {
		t.Errorf("got basic auth %v", auth)
	}
	if config := opts.Client.TLS.Config(); config.RootCAs == nil || config.GetClientCertificate == nil {
		t.Error("TLS of the HTTP API has no authority or no client certificate")
	}
	if config := opts.Ports.RPCTLSConfig.Config(); config.RootCAs == nil || config.GetClientCertificate == nil {
		t.Error("TLS of port 8300 does not default to that of the HTTP API")
	}
	if keys := opts.Ports.SerfKeys(); len(keys) != 1 || len(keys[0]) != 32 {
		t.Errorf("got gossip keys %v", keys)
	}
	if diff := cmp.Diff(collectorNames(), production.Collectors()); diff != "" {
		t.Errorf("the example does not have all collectors (-want +got):\n%s", diff)
	}

	lab, _ := valid.Module("lab")
	opts = lab.Options(consul.Address{})
	if opts.Client.BasicAuth != nil || opts.Client.Token() != "" || opts.Ports.SerfKeys != nil ||
		!slices.Equal(opts.Ports.Protocols, cluster.Protocols()) {
		t.Errorf("the shortest module has got more than defaults: %+v", opts.Ports)
	}
}

// An option says whether it is a flag. A flag has a help, which names the variable that it defaults to.
func TestOptions(t *testing.T) {
	t.Parallel()
	unused := maps.Clone(helps)
	for _, o := range new(Module).Options() {
		if o.Flag == "" || (o.Help != "") != (o.Flag != "-") || !strings.Contains(o.Help, o.Env) {
			t.Errorf("%s has flag %q, variable %q and help %q", o.Key, o.Flag, o.Env, o.Help)
		}
		delete(unused, o.Key)
	}
	for key := range unused {
		t.Errorf("there is a help for %s, which is no option", key)
	}
	m := DefaultModule()
	if m.MaxResponseBytes != consul.DefaultMaxResponseBytes || m.Catalog.MaxSeries != collector.DefaultMaxSeries {
		t.Errorf("defaults are %s and %d series; want those of the packages", m.MaxResponseBytes, m.Catalog.MaxSeries)
	}
}

// The example is the documentation: it has every key, each says its default, and what it says is true.
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	content := must.Get(os.ReadFile(exampleFile))(t)
	var doc struct{ Modules map[string]yaml.Node }
	must.Do(t, yaml.Unmarshal(content, &doc))
	comments := make(map[string]string)
	readComments(doc.Modules["production"], "", "", comments)
	for _, o := range new(Module).Options() {
		comment, ok := comments[o.Key]
		switch want := strings.TrimSpace("Default " + o.Default); {
		case !ok:
			t.Errorf("the example has no key %s", o.Key)
		case !strings.Contains(comment, want) && o.Key != "targets": // They have no default.
			t.Errorf("the example does not say %q about %s, but %q", want, o.Key, comment)
		}
		delete(comments, o.Key)
	}
	for key := range comments {
		t.Errorf("the example has a key %s that does not exist", key)
	}
}

// readComments reads the comment of each key, which may be for several keys.
func readComments(node yaml.Node, prefix, comment string, comments map[string]string) {
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.HeadComment != "" {
			comment = strings.Join(strings.Fields(strings.ReplaceAll(key.HeadComment, "#", "")), " ")
		}
		if value.Kind == yaml.MappingNode {
			readComments(*value, prefix+key.Value+".", comment, comments)
		} else {
			comments[prefix+key.Value] = comment
		}
	}
}

// Port 8300 takes from the agent's API how certificates are verified, and never the name: that of a client agent is
// none of a server.
func TestRPCDefaultsToTheAgents(t *testing.T) {
	t.Parallel()
	m := DefaultModule()
	m.TLS.ServerName, m.TLS.Insecure = "client.dc1.consul", true
	got := validModule(t, m).Options(consul.Address{}).Ports.RPCTLSConfig.Config()
	if got.ServerName != "" || !got.InsecureSkipVerify {
		t.Errorf("got server name %q, insecure %v; want none, and as with the agent's API", got.ServerName,
			got.InsecureSkipVerify)
	}
	m.RPC.ServerName = "server.dc1.consul"
	got = validModule(t, m).Options(consul.Address{}).Ports.RPCTLSConfig.Config()
	if got.ServerName != "server.dc1.consul" {
		t.Errorf("got server name %q, want that of rpc", got.ServerName)
	}
}

// A module is what it was made from, whatever becomes of that.
func TestValidModuleIsACopy(t *testing.T) {
	t.Parallel()
	m := DefaultModule()
	m.Targets, m.Collectors = []string{"a.example"}, []string{"raft"}
	valid := validModule(t, m)
	same := validModule(t, m)
	m.Targets[0], m.Collectors[0] = "b.example", "ports"
	if got := valid.Collectors()[0]; got != "raft" || !valid.same(same) {
		t.Errorf("collector is %s, same is %v; want what was validated", got, valid.same(same))
	}
	if valid.same(validModule(t, m)) {
		t.Error("a module with other targets is the same")
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	m := DefaultModule()
	m.Token, m.BasicAuth.UserPassword = "hush", "hush"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, m); strings.Contains(got, "hush") {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}

// Later problems with files are reported with the module and the key, once.
func TestFilesThatGoAway(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "token"), "hush")
	write(t, filepath.Join(folder, "keys"), base64.StdEncoding.EncodeToString(make([]byte, 16)))
	write(t, filepath.Join(folder, "c.yml"),
		"modules: {a: {token_file: token, serf: {encrypt_key_file: keys}, targets: [localhost]}}")
	var (
		mu   sync.Mutex
		said []string
	)
	f, err := Open(filepath.Join(folder, "c.yml"), func(p Problem) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, p.Error())
	})
	must.Do(t, err)
	m, _ := f.Module("a")
	opts := m.Options(consul.Address{})
	write(t, filepath.Join(folder, "token"), "hush hush")
	write(t, filepath.Join(folder, "keys"), "hush hush")
	for range 2 {
		if opts.Client.Token() != "hush" || len(opts.Ports.SerfKeys()) != 1 {
			t.Error("the last good token and keys are not in use")
		}
	}
	want := []string{
		"modules.a.token_file: token file " + filepath.Join(folder, "token") + " holds something else than one token",
		"modules.a.serf.encrypt_key_file: key file " + filepath.Join(folder, "keys") +
			" holds as its key 1 something else than base64",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("warnings differ (-want +got):\n%s", diff)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	path := filepath.Join(folder, "c.yml")
	password := filepath.Join(folder, "password")
	write(t, password, "one")
	const unchanged = "  same: {targets: [a.example], basic_auth: {username: u, password_file: password}}\n"
	write(t, path, "modules:\n"+unchanged+"  other: {targets: [a.example]}\n")
	f := must.Get(Open(path, nil))(t)
	module := func(name string) *ValidModule {
		m, _ := f.Module(name)
		return m
	}
	expectStatus := func(want bool, notBefore time.Time) (success time.Time) {
		t.Helper()
		ok, at := f.LastReload()
		if ok != want || at.Before(notBefore) {
			t.Errorf("got reload %v at %s, want %v and not before %s", ok, at, want, notBefore)
		}
		return at
	}
	first := expectStatus(true, time.Time{})
	same, other := module("same"), module("other")

	write(t, path, "modules:\n"+unchanged+"  other: {targets: [b.example]}\n  new: {targets: [c.example]}\n")
	must.Do(t, f.Reload())
	second := expectStatus(true, first)
	if module("same") != same || module("other") == other || module("new") == nil {
		t.Error("want the unchanged module to stay the same one, the changed one to be another, and the new one to be there")
	}
	other = module("other")

	for _, bad := range []string{"modules: {", "modules: {other: {scheme: ftp, targets: [x]}}", "nonsense: 1", ""} {
		write(t, path, bad)
		if err := f.Reload(); err == nil || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("got error %v for %q, want one with the file", err, bad)
		}
		if at := expectStatus(false, second); at != second {
			t.Errorf("the time of the last good load changed to %s", at)
		}
		if module("same") != same || module("other") != other {
			t.Error("a bad file has changed the modules")
		}
	}

	write(t, password, "two")
	write(t, path, "modules:\n"+unchanged)
	must.Do(t, f.Reload())
	expectStatus(true, second)
	if module("same") == same || module("other") != nil {
		t.Error("want a module whose password has changed to be another one, and the removed one to be gone")
	}
}
