// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// recoveryTimeout bounds the question to the responder: the page does not wait for it longer than for a port that
	// hangs.
	recoveryTimeout = 2 * time.Second
	// recoveryRecords is how many decisions the page shows.
	recoveryRecords = 10
	// maxRecoveryBytes bounds the answer.
	maxRecoveryBytes = 4 << 20
)

// Responder is where the status page learns what the responder has decided. The page only reads its history.
type Responder struct {
	// URL is the address of the responder, without a path; empty means that there is none.
	URL string
	// Secret returns what readers must know; nil means nothing.
	Secret func() string
}

// ValidateResponderURL reports what is wrong with the address of a responder.
func ValidateResponderURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil ||
		strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return errors.New("want http or https, a host, and nothing behind it, such as http://localhost:9108")
	}
	return nil
}

// recovery has the latest decisions of the responder, as the page shows them, and as JSON.
type recovery struct {
	// Records are the newest first.
	Records []recoveryRecord `json:"records"`
	// Error is why they are not known; left out when they are.
	Error string `json:"error,omitempty"`
}

// recoveryRecord is a decision, as far as the page shows it: those who see the page need not know the responder's
// secret, and reasons and outputs can hold others.
type recoveryRecord struct {
	// Time is when it was made.
	Time time.Time `json:"time"`
	// Rule is the name of the rule in the responder's configuration.
	Rule string `json:"rule"`
	// Result is how it ended, as in the responder's history.
	Result string `json:"result"`
	// DryRun is whether the rule only records what it would do.
	DryRun bool `json:"dry_run"`
}

// Bad is whether somebody should look.
func (r *recoveryRecord) Bad() bool {
	return r.Result == "failed" || r.Result == "timeout" || r.Result == "unknown"
}

// Verdict is the result in words.
func (r *recoveryRecord) Verdict() string {
	return strings.ReplaceAll(strings.ReplaceAll(r.Result, "refused_by_guard", "refused"), "_", " ")
}

// ask asks the responder. It is nil without one.
func (r Responder) ask(ctx context.Context) *recovery {
	if r.URL == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recoveryTimeout)
	defer cancel()
	records, err := r.records(ctx)
	if err != nil {
		return &recovery{Records: []recoveryRecord{}, Error: err.Error()}
	}
	return &recovery{Records: records}
}

func (r Responder) records(ctx context.Context) ([]recoveryRecord, error) {
	address := fmt.Sprintf("%s/history?limit=%d", strings.TrimSuffix(r.URL, "/"), recoveryRecords)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	if r.Secret != nil {
		req.Header.Set("Authorization", "Bearer "+r.Secret())
	}
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		// Never send the secret anywhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRecoveryBytes))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %.100q", address, resp.Status, body)
	}
	var page struct {
		Records []recoveryRecord `json:"records"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("read %s: %w", address, err)
	}
	if page.Records == nil { // "records": null is no list, which the page's JSON promises.
		return []recoveryRecord{}, nil
	}
	return page.Records, nil
}
