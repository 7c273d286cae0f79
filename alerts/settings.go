// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// Setting is something about the rules that an operator may change.
type Setting struct {
	// Name is that of the flag, without the dashes.
	Name    string
	Help    string
	Default string

	kind kind
}

// kind says how the value of a setting is written, and what it must be like. It returns the value as PromQL has it.
type kind func(value string) (promQL string, err error)

var settings = []Setting{
	{
		settingProfile, "Which alerts: all, or core (those that page, with their warnings).",
		profileAll, profile,
	},
	{
		settingSelector, "Matchers for every expression, such as env=\"prod\".", "",
		selector,
	},
	{
		settingGroupBy,
		"Labels that tell clusters apart, separated by commas.",
		"cluster,datacenter,job", labelNames,
	},
	{
		settingRunbook, "URL of a runbook; {alert} is the alert's name.",
		"https://github.com/zervigo/consul_cluster_exporter/blob/main/docs/runbooks/{alert}.md",
		address(runbookAlert, "https://wiki.example/"),
	},
	{
		settingDashboard,
		"URL for the annotation dashboard_url, such as https://grafana.example/d/{dashboard}; {dashboard} is the uid. " +
			"Default: none.", "", dashboardAddress,
	},

	{"port-latency", "How long a port may take to respond.", "1s", duration},
	{"port-error-rate", "Tolerated share of failed probes of a port, over five minutes.", "0.05", ratio},
	{"certificate-warning", "Warn this long before a port's certificate expires" + orTenth, "14d", duration},
	{"certificate-critical", "The same, critical" + orTenth, "3d", duration},
	{
		"exporter-certificate", "Warn this long before a certificate of the exporter expires" + orTenth,
		"7d", duration,
	},

	{"raft-log-lag", "How many Raft log entries a server may lag.", "1000", count},
	{"raft-apply-lag", "How many committed Raft log entries may wait to be applied.", "1000", count},
	{"raft-last-contact", "How long ago a follower may have heard from the leader.", "200ms", duration},
	{"raft-commit-time", "How long a commit may take on average.", "200ms", duration},
	{"raft-saturation", "How busy a Raft thread may be.", "0.5", ratio},
	{"leader-changes", "Changes of leader in 15 minutes that are too many.", "4", count},

	{"members-failed-warning", "Warn if more than this share of client agents fails at once.", "0.1", ratio},
	{"members-failed-critical", "The same, critical.", "0.5", ratio},
	{
		"gossip-score", "Gossip health score that is too high, on average over five minutes; 7 is the worst.",
		"2", count,
	},
	{"rpc-error-rate", "Tolerated share of failed RPC requests, over ten minutes.", "0.1", ratio},
	{"version-skew", "How long several versions of Consul may run in a cluster.", "1d", duration},
	{"ca-root-warning", "Warn this long before the service mesh's root certificate expires.", "30d", duration},
	{"ca-root-critical", "The same, critical.", "7d", duration},
	{"license-warning", "Warn this long before the Consul Enterprise license expires.", "30d", duration},
	{"license-critical", "The same, critical.", "7d", duration},

	{
		settingServiceAlerts, "Alerts on services: off, warning, or critical (ConsulServiceDown pages).", severities[1],
		serviceAlerts,
	},
	{
		settingServices, "Services to alert on: a regular expression for the whole name. Default: all.", "", serviceNames,
	},
	{
		settingServiceTag, "Alert only on services with this tag, or with --service-meta.", "", anyText,
	},
	{
		settingServiceMeta, "Alert only on services with this meta, such as alert=true, exported with --meta.filter.", "",
		serviceMeta,
	},
	{
		"catalog-loss", "Share of services or nodes that may vanish within an hour.", "0.5", ratio,
	},
	{"maintenance", "How long a node or service may be in maintenance.", "1d", duration},
	{"scrape-duration", "How long a scrape may take; keep it below scrape_timeout.", "8s", duration},
}

// orTenth ends the help of settings about certificates that machines may renew, after a fraction of their lifetime.
const orTenth = ", or a tenth of its lifetime if that is shorter."

// ordered are the pairs of settings of which the first must come before the second: a warning is to come before what
// it warns of.
var ordered = []struct {
	warning, critical string
	// rises is whether the critical value is the larger one.
	rises bool
}{
	{"certificate-warning", "certificate-critical", false},
	{"members-failed-warning", "members-failed-critical", true},
	{"ca-root-warning", "ca-root-critical", false},
	{"license-warning", "license-critical", false},
}

// Settings returns all settings, in the order in which they are documented.
func Settings() []Setting { return slices.Clone(settings) }

// Default is the default of a setting that is a number, as PromQL has it: durations are in seconds. It is NaN if
// there is no such setting.
func Default(name string) float64 {
	v, err := newValues(nil)
	if n, numErr := strconv.ParseFloat(v.promQL[name], 64); err == nil && numErr == nil {
		return n
	}
	return math.NaN()
}

// values are the values of all settings: as they were written, and as PromQL has them.
type values struct {
	text, promQL map[string]string
	choices
}

// newValues takes the defaults for what is not in given. It returns all problems at once, one in a line, each with
// its flag.
func newValues(given map[string]string) (values, error) {
	v := values{text: make(map[string]string), promQL: make(map[string]string)}
	var errs []error
	for _, s := range slices.Concat(settings, lists) {
		text, ok := given[s.Name]
		if !ok {
			text = s.Default
		}
		promQL, err := s.kind(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", s.Name, err))
		}
		v.text[s.Name], v.promQL[s.Name] = text, promQL
	}
	if len(errs) == 0 {
		errs = v.disorder()
		v.choices = newChoices(v.text)
	}
	return v, errors.Join(errs...)
}

// disorder reports the pairs whose warning would not come first.
func (v values) disorder() []error {
	var errs []error
	for _, o := range ordered {
		first, last, want := o.critical, o.warning, "more"
		if o.rises {
			first, last, want = o.warning, o.critical, "less"
		}
		if number(v.promQL[first]) >= number(v.promQL[last]) {
			errs = append(errs, fmt.Errorf("--%s: %s must be %s than %s, the value of --%s",
				o.warning, v.text[o.warning], want, v.text[o.critical], o.critical))
		}
	}
	return errs
}

// number reads a value that a kind has checked.
func number(promQL string) float64 {
	n, _ := strconv.ParseFloat(promQL, 64)
	return n
}

// duration is written as Prometheus does, such as 90s, 1h30m or 14d; in PromQL it is a number of seconds.
func duration(s string) (string, error) {
	d, err := model.ParseDuration(s)
	if err != nil || d == 0 {
		return "", fmt.Errorf("%q is no duration above 0 as Prometheus writes it; want for example 500ms, 90s or 14d", s)
	}
	return strconv.FormatFloat(time.Duration(d).Seconds(), 'f', -1, 64), nil
}

// ratio is between 0 and 1, which both make no sense: one would always be exceeded, the other never.
func ratio(s string) (string, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n > 0 && n < 1) {
		return "", fmt.Errorf("%q is no number between 0 and 1; want for example 0.05", s)
	}
	return strconv.FormatFloat(n, 'f', -1, 64), nil
}

// count is written without leading zeros: in PromQL a number that begins with 0 is octal.
func count(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q is no whole number above 0", s)
	}
	return strconv.FormatUint(n, 10), nil
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// labelNames are one or more, with commas.
func labelNames(s string) (string, error) {
	names := strings.Split(s, ",")
	for i, name := range names {
		name = strings.TrimSpace(name)
		switch {
		case !labelName.MatchString(name) || strings.HasPrefix(name, "__"):
			return "", fmt.Errorf("%q is no list of names of labels; want for example cluster,datacenter", s)
		case slices.Contains(names[:i], name):
			return "", fmt.Errorf("%q has the label %s twice", s, name)
		}
		names[i] = name
	}
	return strings.Join(names, ", "), nil
}

// address is a URL in which something stands for what it is of, such as the example with it at the end. An @ might end
// a password, which is not repeated either.
func address(placeholder, example string) kind {
	return func(s string) (string, error) {
		u, err := url.Parse(strings.ReplaceAll(s, placeholder, "Name"))
		web := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
		if !web || !strings.Contains(s, placeholder) || strings.ContainsAny(s, " \"'\n@") {
			return "", fmt.Errorf("not a URL with http or https that has %s in it; want for example %s",
				placeholder, example+placeholder)
		}
		return s, nil
	}
}

// dashboardAddress may be empty.
func dashboardAddress(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return address(dashboardUID, "https://grafana.example/d/")(s)
}

const (
	// runbookAlert stands for an alert's name in the address of its runbook.
	runbookAlert = "{alert}"
	// dashboardUID stands for the uid in the address of a dashboard.
	dashboardUID = "{dashboard}"
)

// Runbook returns the address of an alert's runbook, as it is in the pack without settings.
func Runbook(alert string) string {
	v, _ := newValues(nil) // The defaults are right.
	return v.runbook(alert)
}

func (v values) runbook(alert string) string {
	return strings.ReplaceAll(v.text[settingRunbook], runbookAlert, alert)
}
