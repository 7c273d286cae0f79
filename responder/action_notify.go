// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// notify tells a webhook about the alert. It changes nothing, and passes no guard.
type notify struct {
	rule  string
	url   string
	limit time.Duration
}

func (*notify) name() string                 { return actionNotify }
func (*notify) guarded() bool                { return false }
func (n *notify) timeout() time.Duration     { return n.limit }
func (*notify) applies(*Alert, *view) string { return "" }

func (n *notify) judge(a *Alert, _ *view) (plan, ruling) {
	return plan{
		what: "Notify: POST " + n.url,
		run:  func(ctx context.Context) (string, error) { return "", n.run(ctx, a) },
	}, ruling{allowed: true, reasons: []string{"It changes nothing."}}
}

func (n *notify) run(ctx context.Context, a *Alert) error {
	body, err := json.Marshal(map[string]any{
		"rule": n.rule, "labels": a.Labels, "annotations": a.Annotations, "startsAt": a.StartsAt,
	})
	if err != nil {
		return fmt.Errorf("write the notification: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the answer is %s", resp.Status)
	}
	return nil
}
