package doctor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/query"
)

// patience is how long the machine has for its diagnosis: it opens its repository for that.
const patience = 90 * time.Second

// Gatherer reads the facts.
type Gatherer struct {
	Client    client.WithWatch
	Discovery discovery.DiscoveryInterface
	Asker     *query.Asker
	Clock     clock.PassiveClock
	// NoQuery leaves the machine alone.
	NoQuery bool
}

// Gather reads all that the person may read of one host.
func (g *Gatherer) Gather(ctx context.Context, namespace, name string) Facts {
	f := Facts{Now: g.Clock.Now(), Namespace: namespace, Name: name}
	if g.served(&f); !f.Served || f.Server != nil || len(f.MissingKinds) > 0 {
		return f
	}
	g.host(ctx, &f)
	if f.Host == nil {
		return f
	}
	f.Credentials = g.secret(ctx, namespace, f.Host.CredentialsSecretName(), "RESTIC_PASSWORD")
	g.objects(ctx, &f)
	if f.Host.Spec.Identity != nil && !g.NoQuery {
		g.ask(ctx, &f)
	}
	f.Now = g.Clock.Now()
	return f
}

// kinds that the cluster must serve.
var kinds = []string{"Host", "HostJob", "HostQuery", "RepoMaintenance", "Schedule", "ScheduleSet", "SourceGroup"}

func (g *Gatherer) served(f *Facts) {
	list, err := g.Discovery.ServerResourcesForGroupVersion(v1alpha1.GroupVersion.String())
	switch {
	case apierrors.IsNotFound(err):
		return
	case err != nil:
		f.Server = err
		return
	}
	f.Served = true
	for _, kind := range kinds {
		found := false
		for _, r := range list.APIResources {
			found = found || r.Kind == kind && !strings.Contains(r.Name, "/")
		}
		if !found {
			f.MissingKinds = append(f.MissingKinds, kind)
		}
	}
}

func (g *Gatherer) host(ctx context.Context, f *Facts) {
	host := &v1alpha1.Host{}
	err := g.Client.Get(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}, host)
	switch {
	case err == nil:
		f.Host = host
	case apierrors.IsNotFound(err):
		if names, err := kube.Names(ctx, g.Client, f.Namespace, &v1alpha1.HostList{}); err == nil {
			f.Near = kube.Nearest(f.Name, names)
		}
	default:
		f.HostErr = err
	}
}

// secret looks at a Secret, where the person may read it. Its values are not kept.
func (g *Gatherer) secret(ctx context.Context, namespace, name, key string) SecretFact {
	fact := SecretFact{Name: name}
	secret := &corev1.Secret{}
	switch err := g.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret); {
	case apierrors.IsNotFound(err):
		fact.Readable = true
	case err == nil:
		fact.Readable, fact.Exists = true, true
		fact.Labelled = secret.Labels[v1alpha1.LabelCredentials] == "true"
		fact.HasPassword = len(secret.Data[key]) > 0
	}
	return fact
}

// objects are what else speaks of the host. What cannot be read is left empty.
func (g *Gatherer) objects(ctx context.Context, f *Facts) {
	set := &v1alpha1.ScheduleSet{}
	switch err := g.Client.Get(ctx, types.NamespacedName{Namespace: f.Namespace, Name: f.Name}, set); {
	case err == nil:
		f.Set = set
	case !apierrors.IsNotFound(err):
		f.SetErr = err
	}
	groups := &v1alpha1.SourceGroupList{}
	if g.Client.List(ctx, groups, client.InNamespace(f.Namespace)) == nil {
		f.Groups = groups.Items
	}
}

// ask has the machine speak for itself, and looks at the gateway on the way.
func (g *Gatherer) ask(ctx context.Context, f *Facts) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	asker := *g.Asker
	asker.Signed = func(endpoint v1alpha1.GatewayEndpoint) { f.Gateway = lookAt(ctx, endpoint, asker.GatewayAddress) }
	f.Asked = true
	began := g.Clock.Now()
	f.AskErr = query.Records(ctx, &asker, query.Question{Host: f.Host, Kind: wire.QueryDiagnosis}, func(d wire.DiagnosisRecord) error {
		f.Diagnosis, f.Received = &d, g.Clock.Now()
		f.RoundTrip = f.Received.Sub(began)
		return nil
	})
	if p := query.ProblemOf(f.AskErr); slices.Contains([]query.Problem{query.ProblemUnreachable, query.ProblemForged}, p) && f.Gateway.Err == nil {
		f.Gateway.Err = f.AskErr
	}
	if errors.Is(f.AskErr, context.DeadlineExceeded) {
		f.AskErr = errors.New("no answer within " + patience.String())
	}
}

// lookAt connects to a gateway as a collector does, for its certificate.
func lookAt(ctx context.Context, endpoint v1alpha1.GatewayEndpoint, address string) GatewayFact {
	fact := GatewayFact{URL: endpoint.URL, Dialled: true}
	c, err := query.HTTPClient(endpoint, address)
	if err != nil {
		fact.Err = err
		return fact
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(endpoint.URL, "/")+wire.QueryPath, nil)
	if err != nil {
		fact.Err = err
		return fact
	}
	response, err := c.Do(request)
	if err != nil {
		fact.Err = err
		return fact
	}
	_ = response.Body.Close()
	if response.TLS != nil && len(response.TLS.PeerCertificates) > 0 {
		fact.NotAfter = response.TLS.PeerCertificates[0].NotAfter
	}
	return fact
}
