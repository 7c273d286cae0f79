// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zervigo/consul_cluster_exporter/cluster"
	"github.com/zervigo/consul_cluster_exporter/consul"
	"github.com/zervigo/consul_cluster_exporter/inputs"
	"github.com/zervigo/consul_cluster_exporter/internal/must"
	"github.com/zervigo/consul_cluster_exporter/memory"
)

// remembers returns the memory of a cluster with one server, as an exporter has it.
func remembers(t *testing.T) []byte {
	t.Helper()
	m := memory.New(memory.Options{})
	server := cluster.Server{ID: "id-1", Name: "server-1", RPCAddress: "10.0.0.1:8300", Status: cluster.StatusAlive}
	m.Learn(&inputs.Evidence{At: time.Unix(1, 0), Topology: cluster.Topology{Servers: []cluster.Server{server}}})
	return must.Get(m.Encode(time.Unix(2, 0)))(t)
}

// The command check has the memory of a file or of an exporter, and says why if it has none.
func TestMemoryOptions_Read(t *testing.T) {
	t.Parallel()
	good := remembers(t)
	file := filepath.Join(t.TempDir(), "state.json")
	must.Do(t, os.WriteFile(file, good, 0o600))
	mux := http.NewServeMux()
	answer := func(path, body string, status int) {
		mux.HandleFunc(path+"/state", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	answer("", string(good), http.StatusOK)
	answer("/denied", "", http.StatusUnauthorized)
	answer("/foreign", "{}", http.StatusOK)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for name, tc := range map[string]struct {
		opts    memoryOptions
		servers int
		note    string
	}{
		"neither":              {memoryOptions{}, 0, "give --state.file or --exporter"},
		"a file":               {memoryOptions{stateFile: file}, 1, ""},
		"no such file":         {memoryOptions{stateFile: file + ".none"}, 0, "no such file"},
		"an exporter":          {memoryOptions{exporter: server.URL + "/"}, 1, ""},
		"one with a password":  {memoryOptions{exporter: server.URL + "/denied"}, 0, "401"},
		"no exporter":          {memoryOptions{exporter: server.URL + "/foreign"}, 0, "not a state"},
		"nobody listens there": {memoryOptions{exporter: "http://user:secret@127.0.0.1:1"}, 0, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, note := tc.opts.read(t.Context(), memory.Options{ExpectedVoters: 3})
			if n := len(m.Remembered()); n != tc.servers || m.Shortage().Expected != 3 {
				t.Errorf("%d servers are remembered, of %d expected voters; want %d of 3", n, m.Shortage().Expected, tc.servers)
			}
			if (note == "") != (tc.note == "") || !strings.Contains(note, tc.note) || strings.Contains(note, "secret") {
				t.Errorf("the note is %q; want %q in it, and no secret", note, tc.note)
			}
		})
	}
}

// An exporter can want a client certificate, and have a certificate of an authority that the system does not know.
func TestMemoryOptions_ReadTLS(t *testing.T) {
	t.Parallel()
	good := remembers(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(good)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	pair, folder := server.TLS.Certificates[0], t.TempDir()
	write := func(name, kind string, content []byte) string {
		path := filepath.Join(folder, name)
		must.Do(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
		return path
	}
	cert := write("cert.pem", "CERTIFICATE", pair.Certificate[0])
	key := write("key.pem", "PRIVATE KEY", must.Get(x509.MarshalPKCS8PrivateKey(pair.PrivateKey))(t))
	for _, tc := range []struct {
		name  string
		files consul.TLSFiles
		note  string
	}{
		{"all", consul.TLSFiles{CAFile: cert, CertFile: cert, KeyFile: key}, ""},
		{"no authority", consul.TLSFiles{CertFile: cert, KeyFile: key}, "unknown authority"},
		{"no client certificate", consul.TLSFiles{CAFile: cert}, "certificate required"},
	} {
		var problems flagProblems
		m := memoryOptions{exporter: server.URL, exporterFiles: tc.files}
		m.problems(&problems)
		_, note := m.read(t.Context(), memory.Options{})
		if len(problems) > 0 || (note == "") != (tc.note == "") || !strings.Contains(note, tc.note) {
			t.Errorf("%s: problems %v, note %q; want %q in it", tc.name, problems, note, tc.note)
		}
	}
	for name, m := range map[string]memoryOptions{
		"nothing to use them for": {exporterFiles: consul.TLSFiles{CAFile: cert}},
		"both a certificate file": {exporter: server.URL, exporterFiles: consul.TLSFiles{CertFile: cert}},
		"only one of them":        {exporter: server.URL, stateFile: "state.json"},
		"want http or https":      {exporter: "localhost"},
	} {
		var problems flagProblems
		if m.problems(&problems); len(problems) != 1 || !strings.Contains(problems[0].Error(), name) {
			t.Errorf("problems are %v; want one with %q", problems, name)
		}
	}
}

func TestMemoryOptions_Options(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(folder, name)
		must.Do(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	for _, tc := range []struct {
		opts memoryOptions
		want []string // What is dismissed.
		flag string   // What is wrong.
	}{
		{memoryOptions{expectedVoters: 3}, nil, ""},
		{memoryOptions{dismissedFile: file("good", "# Gone:\nid-1\n\n  id-2  \n")}, []string{"id-1", "id-2"}, ""},
		{memoryOptions{expectedVoters: -1}, nil, "--cluster.expected-voters"},
		{memoryOptions{expectedVoters: 201}, nil, "--cluster.expected-voters"},
		{memoryOptions{dismissedFile: file("bad", "server 1\n")}, nil, "--cluster.dismissed-file"},
		{memoryOptions{dismissedFile: filepath.Join(folder, "none")}, nil, "--cluster.dismissed-file"},
	} {
		var problems flagProblems
		opts := tc.opts.options(&problems, nil)
		switch {
		case tc.flag == "" && len(problems) > 0:
			t.Errorf("%+v: %v", tc.opts, problems)
		case tc.flag != "" && (len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), tc.flag+": ")):
			t.Errorf("%+v: %v; want one problem with %s", tc.opts, problems, tc.flag)
		case tc.want != nil && !slices.Equal(opts.Dismissed(), tc.want):
			t.Errorf("%+v: dismissed are %q; want %q", tc.opts, opts.Dismissed(), tc.want)
		}
	}
}

func TestValidateExporter(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"http://localhost:9107": true, "https://a.example/": true, "http://user:secret@a.example:9107": true,
		"": false, "localhost:9107": false, "http://": false, "ftp://a": false, "http://a/metrics": false,
		"http://a?x": false,
	} {
		if err := validateExporter(address); (err == nil) != good {
			t.Errorf("%q: %v; want it to be good: %t", address, err, good)
		}
	}
}
