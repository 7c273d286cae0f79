// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package alerts

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// The settings about services, which are mostly not those of the people who look after Consul.
const (
	settingServiceAlerts = "service-alerts"
	settingServices      = "services"
	settingServiceTag    = "service-tag"
	settingServiceMeta   = "service-meta"

	serviceAlertsOff = "off"
)

// ofServices are the alerts that --service-alerts=off leaves out.
var ofServices = strings.Fields("ConsulServiceDown ConsulServiceInstancesCritical ConsulServiceVanished " +
	"ConsulServiceMaintenanceLong")

func serviceAlerts(s string) (string, error) {
	if s != serviceAlertsOff && s != severities[0] && s != severities[1] {
		return "", fmt.Errorf("there is no %q; want off, warning or critical", s)
	}
	return s, nil
}

// serviceNames is a regular expression, or empty. PromQL takes those of Go, and anchors them.
func serviceNames(s string) (string, error) {
	if _, err := regexp.Compile(s); err != nil {
		return "", fmt.Errorf("%q is no regular expression; want for example payments-.*", s)
	}
	return s, nil
}

func anyText(s string) (string, error) { return s, nil }

// serviceMeta is a key and its value, or empty.
func serviceMeta(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	return pair("KEY=VALUE", "alert=true", anyText, anyText)(s)
}

// serviceSeverity is that of ConsulServiceDown.
func (v values) serviceSeverity() string {
	if v.text[settingServiceAlerts] == severities[0] {
		return severities[0]
	}
	return severities[1]
}

func (v values) servicesMatcher() string {
	if v.text[settingServices] == "" {
		return ""
	}
	return ", service_name=~" + strconv.Quote(v.text[settingServices])
}

// chosenServices selects the instances with the tag or the meta. Their series do not have the name of the service.
func (v values) chosenServices() string {
	var with []string
	if tag := v.text[settingServiceTag]; tag != "" {
		with = append(with, fmt.Sprintf("consul_service_tag{tag=%q}", tag))
	}
	if key, value, _ := strings.Cut(v.text[settingServiceMeta], "="); key != "" {
		with = append(with, fmt.Sprintf("consul_service_meta_info{key=%q, value=%q}", key, value))
	}
	return strings.Join(with, " or ")
}

// steps is a range of PromQL over a setting that is a duration, in 200 steps.
func (v values) steps(name string) (string, error) {
	d, err := model.ParseDuration(v.text[name])
	step := max(time.Duration(d)/200, time.Millisecond).Truncate(time.Millisecond)
	return fmt.Sprintf("[%s:%s]", v.text[name], model.Duration(step)), err
}

// instances is written as Prometheus's templates are.
func (v values) instances() string {
	var matchers, labels strings.Builder
	for _, name := range append(v.identity(), "service_name") {
		fmt.Fprintf(&matchers, "%s=%%q, ", name)
		fmt.Fprintf(&labels, " $labels.%s", name)
	}
	return fmt.Sprintf("{{ with printf `group by (service_id, node) (consul_catalog_service_node_healthy{%s} == 0)`%s | "+
		"query }}{{ if le (len .) 5 }}; not passing:{{ range $i, $_ := sortByLabel \"service_id\" . }}{{ if $i }},{{ end }} "+
		"{{ .Labels.service_id }} on {{ .Labels.node }}{{ end }}{{ end }}{{ end }}",
		strings.TrimSuffix(matchers.String(), ", "), labels.String())
}
