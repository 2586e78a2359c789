package collector

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// Answer answers one query.
type Answer func(q *wire.HostQuery, p wire.QueryParameters, w *Writer) error

// Collector signs and answers. Its fields may be set before the first query.
type Collector struct {
	// Unsigned leaves queries as they are; Condition, where set, is put into their status in place of a signature.
	Unsigned  bool
	Condition *metav1.Condition
	// Refuse answers a collector with an HTTP error.
	Refuse func(attempt int) (status int, refusal *wire.Error)
	// Forge signs the openings with another key than the machine's.
	Forge bool

	client  client.WithWatch
	server  *httptest.Server
	answer  Answer
	signing ed25519.PrivateKey
	sealing []byte

	mu       sync.Mutex
	attempts int
	seen     []*wire.HostQuery
}

// Start serves until the test ends. c must be able to write the status of HostQueries.
func Start(t testing.TB, c client.WithWatch, answer Answer) *Collector {
	t.Helper()
	_, signing, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &Collector{client: c, answer: answer, signing: signing, sealing: sealing}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	ctx, cancel := context.WithCancel(context.Background())
	w, err := c.Watch(ctx, &v1alpha1.HostQueryList{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); s.control(ctx, t, w) }()
	t.Cleanup(func() { cancel(); w.Stop(); <-done; s.server.CloseClientConnections(); s.server.Close() })
	return s
}

// Identity is the machine's, for a Host.
func (s *Collector) Identity() *v1alpha1.HostIdentity {
	sealing, _ := seal.SealingPublicKey(s.sealing)
	return &v1alpha1.HostIdentity{
		SigningKey: base64.StdEncoding.EncodeToString(s.signing.Public().(ed25519.PublicKey)),
		SealingKey: base64.StdEncoding.EncodeToString(sealing),
	}
}

// Endpoint is the gateway's.
func (s *Collector) Endpoint() v1alpha1.GatewayEndpoint {
	return v1alpha1.GatewayEndpoint{URL: s.server.URL, TLSPins: []string{tlspin.Pin(s.server.Certificate())}}
}

// Address is where the gateway listens.
func (s *Collector) Address() string { return s.server.Listener.Addr().String() }

// Seen lists the queries that were signed.
func (s *Collector) Seen() []*wire.HostQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*wire.HostQuery(nil), s.seen...)
}

// control does the controllers' part.
func (s *Collector) control(ctx context.Context, t testing.TB, w watch.Interface) {
	for event := range w.ResultChan() {
		query, is := event.Object.(*v1alpha1.HostQuery)
		if event.Type != watch.Added || !is || query.Status.Command != nil || s.Unsigned {
			continue
		}
		if err := s.sign(ctx, query.DeepCopy()); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
			t.Errorf("signing HostQuery %s: %v", query.Name, err)
		}
	}
}

func (s *Collector) sign(ctx context.Context, query *v1alpha1.HostQuery) error {
	base := query.DeepCopy()
	query.Status.ObservedGeneration = query.Generation
	if s.Condition != nil {
		query.Status.Conditions = []metav1.Condition{*s.Condition}
		return s.client.Status().Patch(ctx, query, client.MergeFrom(base))
	}
	identity := wire.Identity{SigningKey: s.signing.Public().(ed25519.PublicKey)}
	identity.SealingKey, _ = seal.SealingPublicKey(s.sealing)
	notAfter := time.Now().Add(time.Duration(query.Spec.TTLSeconds) * time.Second)
	q := &wire.HostQuery{
		Label: wire.HostQueryLabel, Host: wire.HostRef{Namespace: query.Namespace, Name: query.Spec.HostRef.Name}, IdentityHash: identity.Hash(),
		Name: query.Name, UID: string(query.UID), NotAfter: notAfter, Kind: wire.QueryKind(query.Spec.Kind), Parameters: query.Spec.Parameters, PublicKey: query.Spec.PublicKey,
	}
	if q.UID == "" { // a fake API server gives none
		q.UID = query.Name
	}
	if err := q.Validate(); err != nil {
		return err
	}
	document, err := json.Marshal(q)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.seen = append(s.seen, q)
	s.mu.Unlock()
	endpoint := s.Endpoint()
	query.Status.Command = &v1alpha1.SignedDocument{Document: string(document), Signatures: []v1alpha1.Signature{{KeyID: "test", Value: "test"}}}
	query.Status.Gateway, query.Status.ExpirationTime = &endpoint, &metav1.Time{Time: notAfter}
	return s.client.Status().Patch(ctx, query, client.MergeFrom(base))
}
