// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// The settings that are not thresholds.
const (
	settingGroupBy   = "group-by"
	settingProfile   = "profile"
	settingSelector  = "selector"
	settingRunbook   = "runbook-url"
	settingDashboard = "dashboard-url"

	listDisable  = "disable"
	listSeverity = "severity"
	listFor      = "for"
	listLabel    = "label"
)

// lists are the settings that can be given several times. Their values are words with commas between them.
var lists = []Setting{
	{
		listDisable, "Alerts to leave out, such as ConsulEvenVoters, separated by commas or repeated.", "",
		words(alertName),
	},
	{
		listSeverity,
		"Severities, such as ConsulServiceDown=warning: critical, warning, or info.", "",
		words(pair("ALERT=SEVERITY", "ConsulServiceDown=warning", alertName, severityName)),
	},
	{
		listFor,
		"How long conditions must last before alerts fire, such as ConsulServerDown=10m.", "",
		words(pair("ALERT=DURATION", "ConsulServerDown=10m", alertName, delay)),
	},
	{
		listLabel, "Labels of every alert, such as team=platform.", "",
		words(pair("LABEL=VALUE", "team=platform", ownLabel, labelValue)),
	},
}

// Lists returns the settings that can be given several times, in the order in which they are documented. Pack takes
// each of them as one text, with commas.
func Lists() []Setting { return slices.Clone(lists) }

// choices are what an operator wants to be different from the pack, apart from thresholds.
type choices struct {
	core     bool
	disabled []string
	// severities and delays are by alert. A delay is as Prometheus writes it.
	severities, delays map[string]string
	// matchers are those of the selector, and labels those that every alert gets.
	matchers []*labels.Matcher
	labels   []labels.Label
}

// newChoices reads the values, which the kinds have checked.
func newChoices(text map[string]string) choices {
	c := choices{
		core: text[settingProfile] == profileCore, disabled: split(text[listDisable]),
		severities: make(map[string]string), delays: make(map[string]string),
	}
	if text[settingServiceAlerts] == serviceAlertsOff {
		c.disabled = append(c.disabled, ofServices...)
	}
	for list, to := range map[string]map[string]string{listSeverity: c.severities, listFor: c.delays} {
		for _, word := range split(text[list]) {
			alert, value, _ := strings.Cut(word, "=")
			to[alert] = value
		}
	}
	for _, word := range split(text[listLabel]) {
		name, value, _ := strings.Cut(word, "=")
		c.labels = append(c.labels, labels.Label{Name: name, Value: value})
	}
	c.matchers, _ = matchersOf(text[settingSelector])
	return c
}

// Severities, from the worst on.
var severities = []string{"critical", "warning", "info"}

// Profiles.
const (
	profileCore = "core"
	profileAll  = "all"
)

func profile(s string) (string, error) {
	if s != profileCore && s != profileAll {
		return "", fmt.Errorf("there is no profile %q; want %s or %s", s, profileCore, profileAll)
	}
	return s, nil
}

// promQL reads what every Prometheus of the pack reads.
var promQL = parser.NewParser(parser.Options{})

// selector is what stands between the braces of a selector of PromQL; it may be empty.
func selector(s string) (string, error) {
	matchers, err := matchersOf(s)
	if err != nil {
		return "", err
	}
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel {
			return "", errors.New(`the rules name their metrics themselves; want for example env="prod"`)
		}
	}
	return s, nil
}

func matchersOf(selector string) ([]*labels.Matcher, error) {
	if selector == "" {
		return nil, nil
	}
	matchers, err := promQL.ParseMetricSelector("{" + selector + "}")
	if err != nil || len(matchers) == 0 {
		return nil, fmt.Errorf(`%q is not what stands between the braces of a selector; want for example env="prod"`,
			selector)
	}
	return matchers, nil
}

// split returns the words of a list; those of an empty text are none.
func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(word string) bool { return word == "" })
}

// words is a list of words of one kind, each about something else.
func words(of kind) kind {
	return func(s string) (string, error) {
		var subjects []string
		for _, word := range split(s) {
			if _, err := of(word); err != nil {
				return "", err
			}
			subject, _, _ := strings.Cut(word, "=")
			if slices.Contains(subjects, subject) {
				return "", fmt.Errorf("%s is there twice", subject)
			}
			subjects = append(subjects, subject)
		}
		return s, nil
	}
}

// pair is a word with an equals sign, such as form or the example.
func pair(form, example string, key, value kind) kind {
	return func(s string) (string, error) {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" || v == "" {
			return "", fmt.Errorf("%q is not %s; want for example %s", s, form, example)
		}
		_, err := key(k)
		if _, wrong := value(v); err == nil {
			err = wrong
		}
		if err != nil {
			return "", fmt.Errorf("%w; want for example %s", err, example)
		}
		return s, nil
	}
}

// alertName is one of anything: which alerts there are is known when the rules are read.
func alertName(s string) (string, error) { return s, nil }

func severityName(s string) (string, error) {
	if !slices.Contains(severities, s) {
		return "", fmt.Errorf("there is no severity %q, only critical, warning and info", s)
	}
	return s, nil
}

// delay may be 0.
func delay(s string) (string, error) {
	if _, err := model.ParseDuration(s); err != nil {
		return "", fmt.Errorf("%q is no duration as Prometheus writes it", s)
	}
	return s, nil
}

// ownLabel is a label that an alert does not have anyway.
func ownLabel(s string) (string, error) {
	switch {
	case !labelName.MatchString(s) || strings.HasPrefix(s, "__"):
		return "", fmt.Errorf("%q is no name of a label", s)
	case s == labelAlert:
		return "", fmt.Errorf("%s is the alert's name", s)
	case s == labelSeverity:
		return "", errors.New("there is --severity for severities")
	}
	return s, nil
}

func labelValue(s string) (string, error) {
	if strings.Contains(s, "{{") {
		return "", fmt.Errorf("%q is a template, and no value", s)
	}
	return s, nil
}

// identity are the labels that tell the clusters of this pack from each other and from those of other packs: as
// clauses of PromQL have them.
func (v values) identity() []string {
	names := strings.Split(v.promQL[settingGroupBy], ", ")
	for _, m := range v.matchers {
		if !slices.Contains(names, m.Name) {
			names = append(names, m.Name)
		}
	}
	return names
}

// federation are the labels that the datacenters of a cluster have in common.
func (v values) federation() []string {
	return slices.DeleteFunc(v.identity(), func(label string) bool { return label == "datacenter" })
}

var (
	// plain are the words of a name in Kubernetes, and notPlain what cannot be in one.
	plain    = regexp.MustCompile(`^[a-z0-9]+(?:-[a-z0-9]+)*$`)
	notPlain = regexp.MustCompile(`[^a-z0-9]+`)
)

// suffix tells what is named after this pack from the same of another pack: empty, or for example
// -env-prod-for-team-a. It is fit for a name in Kubernetes.
func (v values) suffix() string {
	var parts []string
	lossy := false
	for _, m := range v.matchers {
		lossy = lossy || m.Type != labels.MatchEqual
		parts = append(parts, m.Name, m.Value)
	}
	if len(v.labels) > 0 {
		parts = append(parts, "for")
	}
	for _, l := range v.labels {
		parts = append(parts, l.Name, l.Value)
	}
	for i, part := range parts {
		lossy = lossy || !plain.MatchString(part)
		parts[i] = strings.Trim(notPlain.ReplaceAllString(strings.ToLower(part), "-"), "-")
	}
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	if lossy {
		hash := fnv.New32a()
		fmt.Fprint(hash, v.text[settingSelector], "\n", v.text[listLabel])
		parts = append(parts, fmt.Sprintf("%08x", hash.Sum32()))
	}
	if len(parts) == 0 {
		return ""
	}
	return "-" + strings.Join(parts, "-")
}

// unknown is the error for an alert that there is not, with the one that may have been meant.
func unknown(alert string, known []string) error {
	meant := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(alert, a), distance(alert, b)) })
	return fmt.Errorf("there is no alert %q; did you mean %s?", alert, meant)
}

// distance is how many letters have to be inserted, left out or replaced to make one text of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// delayedBy are the alerts whose delay, or how far they look back, is a setting of its own.
var delayedBy = map[string]string{
	"ConsulNodeMaintenanceLong":    "maintenance",
	"ConsulServiceMaintenanceLong": "maintenance",
	"ConsulVersionSkew":            "version-skew",
}

// DelayedBy returns the setting that is the delay of each alert that has one, by alert.
func DelayedBy() map[string]string { return maps.Clone(delayedBy) }
