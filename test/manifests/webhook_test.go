package manifests

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/restic-manager/restic-manager/test/env"
)

// rendered are the objects of an installation, as YAML by kind and name.
func rendered(t *testing.T, folder string) map[string]string {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	out, err := env.Shared(t).Kubectl(t.Context(), "kustomize", filepath.Join(root, "config", folder))
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]string{}
	for document := range strings.SplitSeq(out, "\n---\n") {
		var head struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatal(err)
		}
		objects[head.Kind+"/"+head.Metadata.Name] = document
	}
	return objects
}

func read[T any](t *testing.T, objects map[string]string, key string) T {
	t.Helper()
	var into T
	if objects[key] == "" {
		t.Fatalf("there is no %s", key)
	}
	if err := yaml.Unmarshal([]byte(objects[key]), &into); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return into
}

const (
	controllerKey    = "Deployment/restic-manager-controller"
	serviceKey       = "Service/restic-manager-webhook"
	configurationKey = "ValidatingWebhookConfiguration/restic-manager"
)

func TestAPIServersFindTheWebhook(t *testing.T) {
	objects := rendered(t, "default")
	service, controller := read[corev1.Service](t, objects, serviceKey), read[appsv1.Deployment](t, objects, controllerKey)
	for key, value := range service.Spec.Selector {
		if controller.Spec.Template.Labels[key] != value {
			t.Errorf("the Service selects %s=%s, the controllers' pods have %v", key, value, controller.Spec.Template.Labels)
		}
	}
	port := service.Spec.Ports[0]
	if service.Namespace != controller.Namespace || port.Port != 443 || !slices.ContainsFunc(controller.Spec.Template.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
		return p.Name == port.TargetPort.StrVal && p.ContainerPort == 9443
	}) {
		t.Errorf("the Service in %s leads from %d to %v, which is not where the controllers listen", service.Namespace, port.Port, port.TargetPort)
	}
	kinds := []string{}
	for _, w := range read[admissionregistrationv1.ValidatingWebhookConfiguration](t, objects, configurationKey).Webhooks {
		to, kind := w.ClientConfig.Service, w.Rules[0].Resources[0]
		kinds = append(kinds, kind)
		if to.Namespace != service.Namespace || to.Name != service.Name || *to.Path != "/validate/"+kind || w.Name != kind+".backup.restic-manager.io" {
			t.Errorf("%s is asked for %s at %+v", w.Name, kind, to)
		}
		if *w.FailurePolicy != admissionregistrationv1.Ignore || *w.SideEffects != admissionregistrationv1.SideEffectClassNone || *w.TimeoutSeconds > 5 {
			t.Errorf("%s must not hold anything up: failurePolicy %s, sideEffects %s, timeoutSeconds %d", w.Name, *w.FailurePolicy, *w.SideEffects, *w.TimeoutSeconds)
		}
		if len(w.ClientConfig.CABundle) > 0 {
			t.Errorf("%s has a caBundle: an apply would take the controllers' own away", w.Name)
		}
	}
	if want := []string{"hosts", "sourcegroups", "schedules", "repomaintenances", "hostjobs"}; !slices.Equal(kinds, want) {
		t.Errorf("asked for are %v, want %v", kinds, want)
	}
}

func TestCertManagerOverlay(t *testing.T) {
	plain, objects := rendered(t, "default"), rendered(t, "default-with-cert-manager")
	certificate := read[struct {
		Metadata struct{ Name, Namespace string }
		Spec     struct {
			SecretName string
			DNSNames   []string `json:"dnsNames"`
			IssuerRef  struct{ Kind, Name string }
		}
	}](t, objects, "Certificate/restic-manager-webhook")
	if objects[certificate.Spec.IssuerRef.Kind+"/"+certificate.Spec.IssuerRef.Name] == "" {
		t.Errorf("there is no issuer %+v", certificate.Spec.IssuerRef)
	}
	if service := read[corev1.Service](t, objects, serviceKey); !slices.Contains(certificate.Spec.DNSNames, service.Name+"."+service.Namespace+".svc") {
		t.Errorf("the certificate is for %v", certificate.Spec.DNSNames)
	}
	pod := read[appsv1.Deployment](t, objects, controllerKey).Spec.Template.Spec
	container := pod.Containers[0]
	if len(pod.Volumes) != 1 || pod.Volumes[0].Secret.SecretName != certificate.Spec.SecretName || len(container.VolumeMounts) != 1 ||
		!slices.Contains(container.Args, "--webhook-cert-dir="+container.VolumeMounts[0].MountPath) {
		t.Errorf("the controllers do not read the certificate: volumes %+v, mounts %+v, args %v", pod.Volumes, container.VolumeMounts, container.Args)
	}
	before := read[appsv1.Deployment](t, plain, controllerKey).Spec.Template.Spec.Containers[0].Args
	if !slices.Equal(container.Args[:len(before)], before) {
		t.Errorf("args %v, without cert-manager %v", container.Args, before)
	}
	configuration := read[admissionregistrationv1.ValidatingWebhookConfiguration](t, objects, configurationKey)
	if got, want := configuration.Annotations["cert-manager.io/inject-ca-from"], certificate.Metadata.Namespace+"/"+certificate.Metadata.Name; got != want {
		t.Errorf("cert-manager injects %q, want %q", got, want)
	}
	added := slices.DeleteFunc(slices.Sorted(maps.Keys(objects)), func(key string) bool { return plain[key] != "" })
	if want := []string{"Certificate/restic-manager-webhook", "Issuer/restic-manager-webhook"}; !slices.Equal(added, want) {
		t.Errorf("it adds %v, want %v", added, want)
	}
	for _, key := range []string{"Namespace/restic-manager-system", controllerKey, configurationKey} {
		args := []string{"apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-"}
		if key != "Namespace/restic-manager-system" {
			args = append(args, "--dry-run=server")
		}
		if _, err := env.Shared(t).KubectlInput(t.Context(), env.Shared(t).AdminKubeconfig, objects[key], args...); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
