// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package responder

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Explain says what the responder would do about the alerts in a text, and why, without doing it. The text is a
// delivery of Alertmanager, or an alert with its labels, which fires since now unless it says otherwise. The history is
// read, and not written to: a running responder may have it.
func Explain(ctx context.Context, opts Options, text []byte, w io.Writer) error {
	alerts, err := alertsIn(text, time.Now())
	if err != nil {
		return err
	}
	r, err := newResponder(opts)
	if err != nil {
		return err
	}
	if err := r.peek(opts.Config.History); err != nil {
		return err
	}
	for i := range alerts {
		r.explain(ctx, &alerts[i], w)
	}
	return nil
}

// alertsIn reads a delivery, or one alert.
func alertsIn(text []byte, now time.Time) ([]Alert, error) {
	var one struct {
		webhookAlert
		Alerts json.RawMessage `json:"alerts"`
	}
	if err := json.Unmarshal(text, &one); err != nil {
		return nil, fmt.Errorf("read the alert: %w", err)
	}
	if one.Alerts != nil {
		return decodeWebhook(text)
	}
	if one.Status == "" {
		one.Status = "firing"
	}
	if one.StartsAt.IsZero() {
		one.StartsAt = now
	}
	a, err := newAlert(&one.webhookAlert)
	return []Alert{a}, err
}

// peek learns from the history what was done, without opening it to write.
func (r *Responder) peek(c HistoryConfig) error {
	if err := c.Check(); err != nil {
		return err
	}
	var records []Record
	paths := []string{c.actionsPath()}
	for i := range c.Keep + 1 {
		paths = append(paths, c.path(i))
	}
	for _, path := range paths {
		lines, err := readHistory(path)
		if err != nil {
			return err
		}
		good, err := readRecords(lines, func(record Record) { records = append(records, record) })
		if err != nil {
			return unreadable(path, lines[:good], err)
		}
	}
	r.ledger.learn(inOrder(records), r.now())
	for _, record := range r.ledger.open { // The responder that runs may be in the middle of it.
		if record.Process == nil || record.Process.alive() {
			r.waitFor(&record)
		}
	}
	return nil
}

// explain prints what would be done about an alert.
func (r *Responder) explain(ctx context.Context, a *Alert, w io.Writer) {
	fmt.Fprintf(w, "Alert %s", a.name())
	if a.server() != "" {
		fmt.Fprintf(w, " about %s", a.server())
	}
	fmt.Fprintln(w)
	if !a.Firing {
		fmt.Fprintln(w, "  Nothing: it is resolved.")
		return
	}
	if len(r.matching(a)) == 0 {
		fmt.Fprintln(w, "  Nothing: no rule matches it.")
		return
	}
	now := r.now()
	o := r.consider(ctx, &job{alert: *a, fingerprint: a.fingerprint(), received: now, queued: now})
	if o.repeated {
		fmt.Fprintln(w, "  Nothing: it has led to an action before.")
		return
	}
	says := map[Result]string{
		ResultStarted: "It would be done now", ResultDryRun: "It would only be written that it would be done (dry_run)",
		ResultRefused: "Refused", ResultCooldown: "Not now",
	}
	fmt.Fprintf(w, "  Rule %s, action %s. %s.\n", o.rule.Name, o.rule.action.name(), says[o.record.Result])
	if o.record.What != "" {
		fmt.Fprintf(w, "  %s.\n", o.record.What)
	}
	for _, reason := range o.record.Reasons {
		fmt.Fprintf(w, "  - %s\n", reason)
	}
}
