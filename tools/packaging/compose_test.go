// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// The file is one that Compose reads, every file that it mounts is there, and nothing is offered to other hosts.
func TestCompose(t *testing.T) {
	options := get(cli.NewProjectOptions([]string{filepath.Join(root, "examples/compose/compose.yaml")}))(t)
	project := get(options.LoadProject(t.Context()))(t)
	const want = "alertmanager consul-1 consul-2 consul-3 exporter grafana prometheus"
	if got := strings.Join(project.ServiceNames(), " "); got != want {
		t.Errorf("its services are %s; want %s", got, want)
	}
	for _, service := range project.Services {
		for _, v := range service.Volumes {
			if v.Type != types.VolumeTypeBind || !v.ReadOnly {
				t.Errorf("%s mounts %s, and can write to it", service.Name, v.Source)
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s mounts what is not there: %v", service.Name, err)
			}
		}
		for _, p := range service.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s offers port %d at the address %q", service.Name, p.Target, p.HostIP)
			}
		}
		if service.Image != "" && (!strings.Contains(service.Image, ":") || strings.HasSuffix(service.Image, ":latest")) {
			t.Errorf("the image %s of %s has no version", service.Image, service.Name)
		}
	}
	exporter := project.Services["exporter"]
	if _, err := os.Stat(filepath.Join(exporter.Build.Context, "Dockerfile")); err != nil {
		t.Errorf("the exporter is built where there is no Dockerfile: %v", err)
	}
}
