// SPDX-FileCopyrightText: The consul_cluster_exporter authors
// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	strict "sigs.k8s.io/yaml"
)

// The kinds of objects among the examples.
var kinds = map[string]func() meta.Object{
	"apps/v1 Deployment":                      func() meta.Object { return &apps.Deployment{} },
	"v1 Service":                              func() meta.Object { return &core.Service{} },
	"v1 ConfigMap":                            func() meta.Object { return &core.ConfigMap{} },
	"v1 PersistentVolumeClaim":                func() meta.Object { return &core.PersistentVolumeClaim{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() meta.Object { return &networking.NetworkPolicy{} },
	"monitoring.coreos.com/v1 ServiceMonitor": func() meta.Object { return &monitoring.ServiceMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() meta.Object { return &monitoring.PrometheusRule{} },
}

// The folders of examples, of which each is applied as a whole.
const exporterFolder, responderFolder = "examples/kubernetes", "examples/kubernetes/responder"

// manifests decodes all examples for Kubernetes in a folder into the API's own types. A field that those do not have,
// or that is there twice, fails the test.
func manifests(t *testing.T, folder string) (objects []meta.Object) {
	t.Helper()
	files := get(filepath.Glob(filepath.Join(root, folder, "*.yaml")))(t)
	for _, file := range files {
		name := get(filepath.Rel(root, file))(t)
		documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(read(t, name))))
		buffer := make([]byte, 1<<20)
		for {
			n, err := documents.Read(buffer)
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			var kind meta.TypeMeta
			must(t, strict.Unmarshal(buffer[:n], &kind))
			newObject, ok := kinds[kind.APIVersion+" "+kind.Kind]
			if !ok {
				t.Fatalf("%s has an object of an unknown kind: %s %s", name, kind.APIVersion, kind.Kind)
			}
			object := newObject()
			if err := strict.UnmarshalStrict(buffer[:n], object); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if object.GetNamespace() != "consul" {
				t.Errorf("%s: %s is in the namespace %q; want consul", name, object.GetName(), object.GetNamespace())
			}
			objects = append(objects, object)
		}
	}
	return objects
}

// only returns the one object of its type.
func only[T meta.Object](t *testing.T, objects []meta.Object) (found T) {
	t.Helper()
	n := 0
	for _, o := range objects {
		if o, ok := o.(T); ok {
			found = o
			n++
		}
	}
	if n != 1 {
		t.Fatalf("there are %d objects of the type %T; want one", n, found)
	}
	return found
}

// What names something else in the examples finds it.
func TestKubernetes(t *testing.T) {
	objects := manifests(t, exporterFolder)
	deployment := only[*apps.Deployment](t, objects)
	pod := labels.Set(deployment.Spec.Template.Labels)
	container := deployment.Spec.Template.Spec.Containers[0]
	port := container.Ports[0].Name

	service := only[*core.Service](t, objects)
	monitor := only[*monitoring.ServiceMonitor](t, objects)
	policy := only[*networking.NetworkPolicy](t, objects)
	for _, tc := range []struct {
		name   string
		by     meta.LabelSelector
		labels labels.Set
	}{
		{"Deployment", *deployment.Spec.Selector, pod},
		{"Service", meta.LabelSelector{MatchLabels: service.Spec.Selector}, pod},
		{"ServiceMonitor", monitor.Spec.Selector, service.Labels},
		{"NetworkPolicy", policy.Spec.PodSelector, pod},
	} {
		selector := get(meta.LabelSelectorAsSelector(&tc.by))(t)
		if selector.Empty() || !selector.Matches(tc.labels) {
			t.Errorf("the selector %s of the %s does not match %s", selector, tc.name, tc.labels)
		}
	}
	named := intstr.FromString(port)
	for name, got := range map[string]intstr.IntOrString{
		"the Service":        service.Spec.Ports[0].TargetPort,
		"the NetworkPolicy":  *policy.Spec.Ingress[0].Ports[0].Port,
		"the livenessProbe":  container.LivenessProbe.HTTPGet.Port,
		"the readinessProbe": container.ReadinessProbe.HTTPGet.Port,
	} {
		if got != named {
			t.Errorf("%s is for the port %s; the container calls it %s", name, got.String(), port)
		}
	}
	if got, want := monitor.Spec.Endpoints[0].Port, service.Spec.Ports[0].Name; got != want {
		t.Errorf("the ServiceMonitor is for the port %q; the Service calls it %q", got, want)
	}
	if !monitor.Spec.Endpoints[0].HonorLabels {
		t.Error("the ServiceMonitor lets the Operator rename labels, such as endpoint, that rules and dashboards use")
	}
	if got := container.Resources.Limits.Memory().Value(); got < 256<<20 {
		t.Errorf("the container may have %d bytes; GOMEMLIMIT is 250 MiB", got)
	}
	if groups := only[*monitoring.PrometheusRule](t, objects).Spec.Groups; len(groups) < 5 {
		t.Errorf("the PrometheusRule has %d groups; want one for each rule file or more", len(groups))
	}
}

// The responder is one pod at any time, which is what its Service leads to, and its history outlives it.
func TestKubernetes_Responder(t *testing.T) {
	objects := manifests(t, responderFolder)
	deployment := only[*apps.Deployment](t, objects)
	spec, pod := deployment.Spec, deployment.Spec.Template
	if *spec.Replicas != 1 || spec.Strategy.Type != apps.RecreateDeploymentStrategyType {
		t.Errorf("there are %d replicas, replaced by %s; two would repair twice", *spec.Replicas, spec.Strategy.Type)
	}
	service := only[*core.Service](t, objects)
	for _, selector := range []map[string]string{spec.Selector.MatchLabels, service.Spec.Selector} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("the selector %v does not match %v", selector, pod.Labels)
		}
	}
	if got, want := service.Spec.Ports[0].TargetPort.String(), pod.Spec.Containers[0].Ports[0].Name; got != want {
		t.Errorf("the Service is for the port %s; the container calls it %s", got, want)
	}
	named := make(map[string]bool)
	for _, v := range pod.Spec.Volumes {
		switch {
		case v.PersistentVolumeClaim != nil:
			named[v.PersistentVolumeClaim.ClaimName] = true
		case v.ConfigMap != nil:
			named["configuration "+v.ConfigMap.Name] = true
		}
	}
	claim, config := only[*core.PersistentVolumeClaim](t, objects), only[*core.ConfigMap](t, objects)
	if !named[claim.Name] || !named["configuration "+config.Name] {
		t.Errorf("the pod has the volumes %v; want %s and %s among them", named, claim.Name, config.Name)
	}
}

// The pods are some that the Pod Security Standard "restricted" admits.
func TestKubernetes_Restricted(t *testing.T) {
	for _, folder := range []string{exporterFolder, responderFolder} {
		expectRestricted(t, only[*apps.Deployment](t, manifests(t, folder)))
	}
}

func expectRestricted(t *testing.T, deployment *apps.Deployment) {
	t.Helper()
	pod := deployment.Spec.Template.Spec
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the pod uses a namespace of the host")
	}
	user := pod.SecurityContext.RunAsUser
	if user == nil || *user == 0 {
		t.Errorf("the pod's user is %v; want a number other than root's", user)
	}
	wantPod := &core.PodSecurityContext{
		RunAsUser: user, RunAsGroup: pod.SecurityContext.RunAsGroup, FSGroup: pod.SecurityContext.FSGroup,
		RunAsNonRoot:   new(true),
		SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault},
	}
	if !reflect.DeepEqual(pod.SecurityContext, wantPod) {
		t.Errorf("the pod's securityContext is %s; want %s", pod.SecurityContext, wantPod)
	}
	wantContainer := &core.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &core.Capabilities{Drop: []core.Capability{"ALL"}},
	}
	for _, c := range pod.Containers {
		if !reflect.DeepEqual(c.SecurityContext, wantContainer) {
			t.Errorf("the securityContext of %s is %s; want %s", c.Name, c.SecurityContext, wantContainer)
		}
	}
	for _, v := range pod.Volumes {
		if v.Secret == nil && v.ConfigMap == nil && v.EmptyDir == nil && v.PersistentVolumeClaim == nil {
			t.Errorf("the volume %s is neither a Secret nor a ConfigMap, a claim nor empty at first", v.Name)
		}
	}
}
