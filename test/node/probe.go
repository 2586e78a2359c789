package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probes are those of one run of a program.
type probes struct {
	last     time.Time
	isReady  bool
	hasBegun bool
	dead     int32
	notReady int32
	// failure is what the last probe that failed said.
	failure error
}

// look makes the probes that are due, and tells whether the program may live on.
func (p *probes) look(ctx context.Context, c *corev1.Container, ip string) bool {
	if time.Since(p.last) < time.Second {
		return true
	}
	p.last = time.Now()
	if c.StartupProbe != nil && !p.hasBegun {
		if p.hasBegun = p.ask(ctx, c, c.StartupProbe, ip) == nil; !p.hasBegun {
			return true
		}
	}
	p.notReady++
	if p.ask(ctx, c, c.ReadinessProbe, ip) == nil {
		p.notReady = 0
	}
	p.isReady = p.notReady == 0 || p.isReady && p.notReady < failures(c.ReadinessProbe)
	p.dead++
	if p.ask(ctx, c, c.LivenessProbe, ip) == nil {
		p.dead = 0
	}
	return p.dead < failures(c.LivenessProbe)+initialDelay(c.LivenessProbe)
}

// initialDelay is in probes, of which there is one a second.
func initialDelay(p *corev1.Probe) int32 {
	if p == nil {
		return 0
	}
	return p.InitialDelaySeconds
}

func failures(p *corev1.Probe) int32 {
	if p == nil || p.FailureThreshold == 0 {
		return 3
	}
	return p.FailureThreshold
}

// ready tells whether the program is; one without a probe is.
func (p *probes) ready(c *corev1.Container) bool { return p.isReady || c.ReadinessProbe == nil }

func (p *probes) ask(ctx context.Context, c *corev1.Container, probe *corev1.Probe, ip string) error {
	if probe == nil {
		return nil
	}
	err := get(ctx, c, probe, ip)
	if err != nil {
		p.failure = err
	}
	return err
}

func get(ctx context.Context, c *corev1.Container, probe *corev1.Probe, ip string) error {
	h := probe.HTTPGet
	if h == nil {
		return fmt.Errorf("this node knows HTTP probes alone")
	}
	ctx, cancel := context.WithTimeout(ctx, max(time.Second, time.Duration(probe.TimeoutSeconds)*time.Second))
	defer cancel()
	scheme := "http"
	if h.Scheme != "" {
		scheme = strings.ToLower(string(h.Scheme))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(ip, portOf(c, h.Port))+h.Path, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s says %s: %s", h.Path, response.Status, body)
	}
	return nil
}

// portOf finds a port by its name.
func portOf(c *corev1.Container, port intstr.IntOrString) string {
	for _, p := range c.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			return fmt.Sprint(p.ContainerPort)
		}
	}
	return port.String()
}
