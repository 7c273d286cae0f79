// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
)

// webConfig is what we look at in a file of exporter-toolkit, which checks the rest of it.
type webConfig struct {
	TLS struct {
		CertFile     string `yaml:"cert_file"`
		KeyFile      string `yaml:"key_file"`
		ClientCAFile string `yaml:"client_ca_file"`
	} `yaml:"tls_server_config"`
	Users map[string]any `yaml:"basic_auth_users"`
}

// readWebConfig reads a file of exporter-toolkit, if there is one. What is wrong with its content is for
// toolkit.Validate to say.
func readWebConfig(path string) (c webConfig, err error) {
	if path == "" {
		return c, nil
	}
	content, err := readAgain(path)
	if err == nil {
		_ = yaml.Unmarshal(content, &c)
	}
	return c, err
}

// validateListen checks the addresses to listen on. Whether they are in use is not looked at: with --config.check, it
// may be this exporter that uses them.
func validateListen(web *toolkit.FlagConfig) error {
	if web.WebSystemdSocket != nil && *web.WebSystemdSocket {
		return nil
	}
	var problems []error
	for _, address := range *web.WebListenAddresses {
		if strings.HasPrefix(address, "vsock://") {
			continue
		}
		resolved, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			problems = append(problems, fmt.Errorf("%q is no address to listen on (%w)", address, err))
			continue
		}
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: resolved.IP, Zone: resolved.Zone})
		if err != nil {
			problems = append(problems, fmt.Errorf("%q is no address of this host (%w)", address, err))
			continue
		}
		_ = listener.Close()
	}
	return errors.Join(problems...)
}

// validateWebConfig checks a file of exporter-toolkit, and the files that it names. The toolkit would wait forever for
// one that blocks, so all are read before.
func validateWebConfig(path string) error {
	c, err := readWebConfig(path)
	if err != nil {
		return err
	}
	for _, f := range []struct{ key, path string }{
		{"cert_file", c.TLS.CertFile}, {"key_file", c.TLS.KeyFile}, {"client_ca_file", c.TLS.ClientCAFile},
	} {
		if f.path == "" {
			continue
		}
		if !filepath.IsAbs(f.path) {
			f.path = filepath.Join(filepath.Dir(path), f.path)
		}
		if _, err := readAgain(f.path); err != nil {
			return fmt.Errorf("tls_server_config.%s: %w", f.key, err)
		}
	}
	if err := toolkit.Validate(path); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: unmarshal errors:\n"))
	}
	return nil
}

// readAgain reads a file that exporter-toolkit reads again for each connection or request.
func readAgain(path string) ([]byte, error) {
	content, err := files.Read(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		err = fmt.Errorf("%s is a pipe, which can be read only once; make it a file", path)
	}
	return content, err
}

// noBasicAuth reports whether the file of exporter-toolkit asks for a password: a request has room for that or for the
// secret.
func noBasicAuth(path string) error {
	c, err := readWebConfig(path)
	if err != nil || len(c.Users) == 0 {
		return err
	}
	return errors.New("basic_auth_users and the configuration's secret_file exclude each other: " +
		"Alertmanager can send only one of them")
}
