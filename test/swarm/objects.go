package swarm

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// creating is how many Hosts are created at once.
const creating = 16

// Secret is what opens the repositories of all agents: one for the fleet.
func (f *Fleet) Secret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.o.Namespace, Name: f.secretName(), Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		StringData: map[string]string{"RESTIC_PASSWORD": rand.Text()},
	}
}

func (f *Fleet) secretName() string { return f.o.Prefix + "credentials" }

// Hosts are the objects of all agents: their identity is given up front, so that nobody enrols.
func (f *Fleet) Hosts() []*v1alpha1.Host {
	hosts := make([]*v1alpha1.Host, 0, len(f.agents))
	for i, a := range f.agents {
		host := &v1alpha1.Host{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.o.Namespace, Name: a.name},
			Spec: v1alpha1.HostSpec{
				Repository: v1alpha1.Repository{URL: "rest:https://backup.example.com/" + a.name + "/", CredentialsSecretRef: &v1alpha1.LocalReference{Name: f.secretName()}},
				Identity: &v1alpha1.HostIdentity{SigningKey: base64.StdEncoding.EncodeToString(a.identity.SigningKey),
					SealingKey: base64.StdEncoding.EncodeToString(a.identity.SealingKey)},
			},
		}
		if f.o.Host != nil {
			f.o.Host(i, host)
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// Published returns when each Host has a ScheduleSet: from then on the gateway knows the agents. Agents that start earlier try again, each time later, as
// real ones do.
func (f *Fleet) Published(ctx context.Context, c client.Client) error {
	// A listing costs the API server more the longer it is.
	every := time.NewTicker(max(50*time.Millisecond, time.Duration(len(f.agents))*50*time.Microsecond))
	defer every.Stop()
	sets := &metav1.PartialObjectMetadataList{}
	sets.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ScheduleSetList"))
	for {
		if err := c.List(ctx, sets, client.InNamespace(f.o.Namespace)); err != nil {
			return fmt.Errorf("swarm: ScheduleSets: %w", err)
		}
		published := make(map[string]bool, len(sets.Items))
		for _, set := range sets.Items {
			published[set.Name] = true
		}
		missing := slices.DeleteFunc(slices.Clone(f.agents), func(a *Agent) bool { return published[a.name] })
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("swarm: %d of %d Hosts have no ScheduleSet, among them %s: %w", len(missing), len(f.agents), missing[0].name, context.Cause(ctx))
		case <-every.C:
		}
	}
}

// Create creates the Secret and the Hosts, a few at a time. The client's rate limit bounds the speed.
func (f *Fleet) Create(ctx context.Context, c client.Client) error {
	if err := c.Create(ctx, f.Secret()); err != nil {
		return fmt.Errorf("swarm: Secret %s: %w", f.secretName(), err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hosts := make(chan *v1alpha1.Host)
	var workers sync.WaitGroup
	for range min(creating, len(f.agents)) {
		workers.Go(func() {
			for host := range hosts {
				if err := c.Create(ctx, host); err != nil {
					cancel(fmt.Errorf("swarm: Host %s: %w", host.Name, err)) // the first one counts
				}
			}
		})
	}
	for _, host := range f.Hosts() {
		if ctx.Err() != nil {
			break
		}
		hosts <- host
	}
	close(hosts)
	workers.Wait()
	return context.Cause(ctx)
}
