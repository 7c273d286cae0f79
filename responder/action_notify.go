// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/files"
)

// notify tells a webhook about the alert. It changes nothing, and passes no guard.
type notify struct {
	NotifyConfig
	rule string
}

func (*notify) name() string                 { return actionNotify }
func (*notify) guarded() bool                { return false }
func (n *notify) timeout() time.Duration     { return n.Timeout }
func (*notify) applies(*Alert, *view) string { return "" }

func (n *notify) judge(a *Alert, _ *view) (plan, decision) {
	return plan{
		what: "Notify: POST to " + n.host(),
		run:  func(ctx context.Context, _ func(*Process)) (string, error) { return "", n.run(ctx, a) },
	}, decision{allowed: true, reasons: []string{"It changes nothing."}}
}

// host is all of the URL that is printed: the rest may hold a password, or be one.
func (n *notify) host() string {
	u, err := n.target()
	if err != nil {
		return "the URL of the rule" // Which was found good at the start.
	}
	return u.Scheme + "://" + u.Host
}

// target is the URL, which a file may have. Its error has nothing of it.
func (n *NotifyConfig) target() (*url.URL, error) {
	text := n.URL
	if n.URLFile != "" {
		content, err := files.Read(n.URLFile)
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(content))
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("not a URL with http or https")
	}
	return u, nil
}

func (n *notify) run(ctx context.Context, a *Alert) error {
	body, err := a.asJSON(map[string]any{"rule": n.rule})
	if err != nil {
		return err
	}
	target, err := n.target()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	return nil
}

// withoutURL takes the URL off an error of net/http.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
