package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// apiServerName is in the API server's certificate, and in the hosts files of Pods.
const apiServerName = "kubernetes.default.svc"

// proxies serve the cluster addresses of Services, as kube-proxy makes the kernel do.
type proxies struct {
	client  kubernetes.Interface
	serving map[string]*proxy
	api     *stack.Balancer
}

// proxy serves one port of a Service.
type proxy struct {
	*stack.Balancer
	backends []string
}

func newProxies(cp *env.ControlPlane, client kubernetes.Interface) (*proxies, error) {
	// The API server has a name of its own, since its Service has no endpoints here.
	api, err := stack.NewBalancerAt(net.JoinHostPort(gateway, "443"), strings.TrimPrefix(cp.URL(), "https://"))
	return &proxies{client: client, serving: map[string]*proxy{}, api: api}, err
}

func (p *proxies) close() error {
	errs := []error{p.api.Close()}
	for _, s := range p.serving {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// look follows Services and the Pods behind them.
func (p *proxies) look(ctx context.Context) error {
	services, err := p.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	list, err := p.client.DiscoveryV1().EndpointSlices("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for i := range services.Items {
		s := &services.Items[i]
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone || s.Name == "kubernetes" && s.Namespace == metav1.NamespaceDefault {
			continue
		}
		if err := addAddress("lo", s.Spec.ClusterIP, singleBits); err != nil {
			return err
		}
		for _, port := range s.Spec.Ports {
			if err := p.point(net.JoinHostPort(s.Spec.ClusterIP, fmt.Sprint(port.Port)), endpoints(list.Items, s, port.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// point sends what comes to an address to those that serve it now.
func (p *proxies) point(address string, backends []string) error {
	known := p.serving[address]
	if known == nil {
		balancer, err := stack.NewBalancerAt(address)
		if err != nil {
			return err
		}
		known = &proxy{Balancer: balancer}
		p.serving[address] = known
	}
	slices.Sort(backends)
	if !slices.Equal(known.backends, backends) {
		known.Spread(backends...)
		known.backends = backends
	}
	return nil
}

// endpoints are those of a Service's port that are ready.
func endpoints(all []discoveryv1.EndpointSlice, s *corev1.Service, port string) []string {
	var found []string
	for _, slice := range all {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Name {
			continue
		}
		for _, p := range slice.Ports {
			if p.Name == nil || *p.Name != port || p.Port == nil {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					found = append(found, net.JoinHostPort(e.Addresses[0], fmt.Sprint(*p.Port)))
				}
			}
		}
	}
	return found
}

// hosts is the hosts file of a Pod: itself, the API server, and the Services that are there when it starts.
func (p *proxies) hosts(ctx context.Context, name, ip string) (string, error) {
	services, err := p.client.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "127.0.0.1 localhost\n%s %s\n%s %s\n", ip, name, gateway, apiServerName)
	for _, s := range services.Items {
		if net.ParseIP(s.Spec.ClusterIP) != nil && s.Name != "kubernetes" {
			fmt.Fprintf(&b, "%s %[2]s.%[3]s.svc %[2]s.%[3]s.svc.cluster.local %[2]s.%[3]s\n", s.Spec.ClusterIP, s.Name, s.Namespace)
		}
	}
	return b.String(), nil
}
