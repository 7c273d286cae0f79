// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/zervigo/consul_cluster_exporter/internal/consultest"
	"github.com/zervigo/consul_cluster_exporter/internal/toolbox"
)

// startTimeout bounds the start of the cluster, and of each program: plenty, for machines that are busy.
const startTimeout = 2 * time.Minute

// demo is all that runs, as far as it was started; nil where it was not.
type demo struct {
	out          *output
	dir          string
	cluster      *consultest.Cluster
	exporter     *exporter
	alertmanager *alertmanager
	prometheus   *prometheus
	seen         watcher
}

// run starts everything, shows it and watches it until ctx is done or its time is up. Call close after it in any case.
func (d *demo) run(ctx context.Context) error {
	duration, err := demoDuration()
	if err != nil {
		return err
	}
	clearConsulEnvironment()
	if err := d.start(ctx); err != nil {
		return err
	}
	d.describe(duration)
	if duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, duration)
		defer cancel()
	}
	if err := d.watch(ctx); err != nil {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		d.out.printf("\nThe demo ends: the time of %s is over.\n", durationVar)
	}
	return nil
}

// start starts everything. What can be told to be missing is told before anything is started.
func (d *demo) start(ctx context.Context) error {
	root, err := toolbox.Root()
	if err != nil {
		return err
	}
	binaries := make(map[string]string)
	for _, name := range []string{"consul", "prometheus", "alertmanager"} {
		if binaries[name], err = toolbox.Path(name); err != nil {
			return err
		}
	}
	if d.dir, err = makeDir(); err != nil {
		return err
	}
	var exporterBinary string
	return d.out.steps([]step{
		{"Building the exporter (a minute or two the first time)", func() (err error) {
			exporterBinary, err = buildExporter(ctx, root, d.dir)
			return err
		}},
		{"Starting a Consul cluster of three servers and a client", func() error { return d.startCluster(ctx) }},
		{"Registering services on the client: " + serviceNames(), func() error {
			return registerServices(ctx, d.cluster.Clients[0].Client())
		}},
		{"Starting the exporter", func() (err error) {
			// A server answers for its own Raft figures, and its configuration tells that the other servers do too.
			d.exporter, err = startExporter(ctx, exporterBinary, d.dir, d.cluster.Servers[0].URL())
			return err
		}},
		{"Waiting until every port of every server answers", func() error { return d.settle(ctx) }},
		{"Starting Alertmanager", func() (err error) {
			d.alertmanager, err = startAlertmanager(ctx, binaries["alertmanager"], d.dir)
			return err
		}},
		// Only now, so that it has seen no trouble yet that would be an alert.
		{"Starting Prometheus", func() (err error) {
			d.prometheus, err = startPrometheus(ctx, binaries["prometheus"], d.dir, d.exporter.address, d.alertmanager.address)
			return err
		}},
	})
}

func (d *demo) startCluster(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	d.cluster, err = consultest.New(ctx, consultest.Options{
		Servers: 3,
		Clients: 1,
		Config: map[string]any{
			"ui_config": map[string]any{"enabled": true},
			// The timeouts are Consul's defaults, five times as long as those for production, so that a busy machine loses no leader.
			"performance": map[string]any{"raft_multiplier": 5},
			"autopilot": map[string]any{
				// By default Consul would forget a broken server after some ten seconds, before one has had a look at it.
				"cleanup_dead_servers": false,
				// Nor does a busy machine make a server unhealthy because it heard of the leader a moment late.
				"last_contact_threshold": "2s",
			},
		},
	})
	if err != nil {
		return fmt.Errorf("start the Consul cluster: %w", err)
	}
	// The exporter asks the first server. Whoever breaks the leader is to see what that does, and not what is missing without an agent.
	if err := d.cluster.TransferLeadership(ctx, d.cluster.Servers[1]); err != nil {
		return fmt.Errorf("choose a leader: %w", err)
	}
	return nil
}

// settleTimeout is how long a young cluster may take until all is well: its servers answer on some ports before they have
// the certificates for others.
const settleTimeout = 20 * time.Second

// settle scrapes until all is well, or until it is no use to wait any longer: then the demo shows what there is.
func (d *demo) settle(ctx context.Context) error {
	deadline := time.Now().Add(settleTimeout)
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		m, err := d.exporter.scrape(ctx)
		if err != nil {
			return fmt.Errorf("read the exporter's metrics: %w", err)
		}
		d.seen.note(m, nil)
		if d.seen.state.well() || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close ends all that runs and removes all that was written.
func (d *demo) close() error {
	var errs []error
	if d.prometheus != nil {
		errs = append(errs, d.prometheus.process.kill())
	}
	if d.alertmanager != nil {
		errs = append(errs, d.alertmanager.stop())
	}
	if d.exporter != nil {
		errs = append(errs, d.exporter.process.kill())
	}
	if d.cluster != nil {
		errs = append(errs, d.cluster.Close())
	}
	errs = append(errs, removeDir(d.dir))
	return errors.Join(errs...)
}
