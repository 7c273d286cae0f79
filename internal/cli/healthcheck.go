// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/zervigo/consul_cluster_exporter/internal/redact"
)

// healthcheckTimeout is how long an exporter may take to say that it is there. It does so without asking Consul.
const healthcheckTimeout = 5 * time.Second

// healthcheckFlags declares the flags of the command that asks a running exporter whether it is healthy.
func healthcheckFlags(cmd *kingpin.CmdClause, address *string) {
	cmd.Flag("url", "URL to query. Its certificate is not verified, and a request for a password counts as healthy.").
		Default("http://localhost:9107/-/healthy").StringVar(address)
}

// healthcheck is the command, for images that have no shell and no curl. It reports why the exporter is not healthy.
func healthcheck(ctx context.Context, address string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return errors.New("--url: not a URL; want for example http://localhost:9107/-/healthy") // Which may hold a password.
	}
	client := http.Client{
		Transport: &http.Transport{ // Through no proxy.
			// The question is whether something answers, nothing secret is sent, and the certificate is seldom for localhost.
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if err != nil {
		return fmt.Errorf("the exporter does not answer: %w", err)
	}
	defer resp.Body.Close()
	// With basic authentication (--web.config.file) the exporter asks everybody for a password: it is there.
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusUnauthorized {
		fmt.Fprintln(stdout, "healthy")
		return nil
	}
	start, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // Only for the message.
	return fmt.Errorf("%s answers with status %d: %q", redact.Text(address), resp.StatusCode, bytes.TrimSpace(start))
}
