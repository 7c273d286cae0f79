// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// watchInterval is the time between the starts of two scrapes, unless one takes longer.
const watchInterval = time.Second

// watch scrapes the exporter and prints each verdict that is not the one before, and each notification, until ctx is done. The
// demo is over when the exporter has ended; without Prometheus or Alertmanager it goes on.
func (d *demo) watch(ctx context.Context) error {
	prometheusDone, alertmanagerDone := d.prometheus.process.done, d.alertmanager.process.done
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.exporter.process.done:
			return d.exporter.process.ended()
		case <-prometheusDone:
			prometheusDone = nil // Never ready: it is told once.
			d.tell(d.prometheus.process.ended().Error())
		case <-alertmanagerDone:
			alertmanagerDone = nil
			d.tell(d.alertmanager.process.ended().Error())
		case n := <-d.alertmanager.inbox.received:
			for _, line := range n.lines() {
				d.tell(line)
			}
		case <-ticker.C:
			m, err := d.exporter.scrape(ctx)
			if text := d.seen.note(m, err); text != "" && ctx.Err() == nil && d.exporter.process.ended() == nil {
				d.tell(text)
			}
		}
	}
}

// watcher compares scrapes. The zero value has seen none.
type watcher struct {
	metrics metrics // The last scrape that succeeded.
	state   state   // The same, read.
	last    string  // The last verdict, which can also be that scraping fails.
}

// note takes the result of a scrape and returns what there is to tell; "" if nothing has changed.
func (w *watcher) note(m metrics, err error) string {
	verdict, news := fmt.Sprintf("the exporter cannot be read: %v", err), ""
	if err == nil {
		now := newState(m, w.metrics)
		verdict = now.verdict()
		news = around("", now.changes(w.state), "; ")
		w.metrics, w.state = m, now
	}
	if verdict == w.last && news == "" {
		return ""
	}
	w.last = verdict
	return news + verdict
}

// tell prints a line with the time.
func (d *demo) tell(text string) {
	stamp := time.Now().Format(time.TimeOnly) + " "
	d.out.printf("%s%s\n", stamp, wrap(text, len(stamp)))
}
