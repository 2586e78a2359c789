package monitoring

import (
	"maps"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// deployments returns the Pod templates of config/manager by the name of the Deployment.
func deployments(t *testing.T) map[string]appsv1.Deployment {
	t.Helper()
	found := map[string]appsv1.Deployment{}
	for _, file := range []string{"controller.yaml", "gateway.yaml"} {
		for document := range strings.SplitSeq(read(t, path(t, "config", "manager", file)), "\n---\n") {
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatal(err)
			}
			if kind.Kind != "Deployment" {
				continue
			}
			var d appsv1.Deployment
			if err := yaml.Unmarshal([]byte(document), &d); err != nil {
				t.Fatal(err)
			}
			found[d.Name] = d
		}
	}
	return found
}

// From ServiceMonitor over Service to the port of a Pod: each of the chain must find the next one.
func TestServiceMonitorsFindTheMetricsOfEveryDeployment(t *testing.T) {
	objects := built(t)
	services := decode[corev1.Service](t, objects, "Service")
	monitors := decode[monitoringv1.ServiceMonitor](t, objects, "ServiceMonitor")
	pods := deployments(t)
	scraped := map[string]int{}
	for name, monitor := range monitors {
		if len(monitor.Spec.Endpoints) != 1 || !monitor.Spec.Endpoints[0].HonorLabels {
			t.Errorf("ServiceMonitor %s: expected one endpoint with honorLabels: the namespace of a series is that of the Host", name)
			continue
		}
		selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		for _, service := range services {
			if service.Namespace != monitor.Namespace || !selector.Matches(labels.Set(service.Labels)) {
				continue
			}
			i := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == monitor.Spec.Endpoints[0].Port })
			if i < 0 {
				t.Errorf("ServiceMonitor %s asks for port %s, which Service %s does not have", name, monitor.Spec.Endpoints[0].Port, service.Name)
				continue
			}
			for _, pod := range pods {
				if pod.Namespace == service.Namespace && labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Spec.Template.Labels)) &&
					hasPort(pod, service.Spec.Ports[i].TargetPort.StrVal) {
					scraped[pod.Name]++
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(pods)) {
		if scraped[name] != 1 {
			t.Errorf("Deployment %s is scraped %d times, expected once", name, scraped[name])
		}
	}
}

func hasPort(d appsv1.Deployment, name string) bool {
	return slices.ContainsFunc(d.Spec.Template.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name })
	})
}

// A Service for metrics must not be taken for the one to which agents connect.
func TestServicesForMetricsHaveNoClusterIP(t *testing.T) {
	for name, service := range decode[corev1.Service](t, built(t), "Service") {
		if service.Spec.ClusterIP != corev1.ClusterIPNone {
			t.Errorf("Service %s is not headless", name)
		}
	}
}

func TestTheDashboardIsFoundByItsLabel(t *testing.T) {
	for name, m := range decode[corev1.ConfigMap](t, built(t), "ConfigMap") {
		if m.Labels["grafana_dashboard"] != "1" {
			t.Errorf("ConfigMap %s has no label grafana_dashboard", name)
		}
		if m.Data["dashboard.json"] != read(t, dashboardFile(t)) {
			t.Errorf("ConfigMap %s does not hold dashboard.json", name)
		}
	}
}
