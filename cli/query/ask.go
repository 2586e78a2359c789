package query

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// DefaultTTL is for questions that are answered in one go, LongTTL for what may take as long as a machine and a line need.
	DefaultTTL = 10 * time.Minute
	LongTTL    = time.Hour
	// signWait is how long the controllers have for their signature.
	signWait = 30 * time.Second
	// cleanUp bounds the deletion of the HostQuery, which also happens after Ctrl-C.
	cleanUp = 5 * time.Second
)

// Asker asks machines. Client and Clock are needed.
type Asker struct {
	Client client.WithWatch
	Clock  clock.WithDelayedExecution
	// GatewayAddress is dialled instead of the gateway's own, host:port: for a kubectl port-forward. Name and certificate stay the gateway's.
	GatewayAddress string
	// Signed is told where the answer of each question is collected. It may be nil.
	Signed func(v1alpha1.GatewayEndpoint)
	// Notice is told in a sentence what the person may wonder about: that a stream was lost and is taken up again.
	Notice func(string)
}

// Question is what is asked of a machine.
type Question struct {
	Host       *v1alpha1.Host
	Kind       wire.QueryKind
	Parameters wire.QueryParameters
	// TTL is how long the answer may take. DefaultTTL when zero.
	TTL time.Duration
}

// Sink takes an answer as it comes. What is nil is not expected. An error of it ends the answer and is returned. What it is given is good for the call alone.
type Sink struct {
	Record func(object []byte) error
	Data   func(piece []byte) error
}

// Ask puts a question and returns when the answer has come to its end. An error of this package is an *Error.
func (a *Asker) Ask(ctx context.Context, q Question, to Sink) error {
	s, err := newSecrets(q.Host)
	if err != nil {
		return err
	}
	query, err := a.create(ctx, q, s)
	if err != nil {
		return err
	}
	defer a.remove(ctx, query)
	if err := a.signed(ctx, q, query); err != nil {
		return err
	}
	if a.Signed != nil {
		a.Signed(*query.Status.Gateway)
	}
	return a.collect(ctx, query, s, to)
}

// Records asks for records of one type.
func Records[T any](ctx context.Context, a *Asker, q Question, each func(T) error) error {
	return a.Ask(ctx, q, Sink{Record: func(object []byte) error {
		var record T
		if err := json.Unmarshal(object, &record); err != nil {
			return fmt.Errorf("a record of the answer does not parse: %w", err)
		}
		return each(record)
	}})
}

// secrets are made for one question and live as long as it.
type secrets struct {
	host     wire.HostRef
	identity wire.Identity
	key      *ecdh.PrivateKey
	stream   []byte
}

func newSecrets(host *v1alpha1.Host) (*secrets, error) {
	s := &secrets{host: wire.HostRef{Namespace: host.Namespace, Name: host.Name}, stream: make([]byte, wire.StreamSecretSize)}
	var err error
	if s.identity, err = identityOf(host); err != nil {
		return nil, err
	}
	_, _ = rand.Read(s.stream) // never fails
	if s.key, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return s, nil
}

func (s *secrets) signingKey() ed25519.PublicKey { return s.identity.SigningKey }

// identityOf decodes the keys that are pinned in a Host.
func identityOf(host *v1alpha1.Host) (wire.Identity, error) {
	if host.Spec.Identity == nil {
		return wire.Identity{}, problem(ProblemNotEnrolled, nil, "host %s/%s is not enrolled: no machine has its keys in spec.identity yet. Enrol it: kubectl restic enroll %s -n %s",
			host.Namespace, host.Name, host.Name, host.Namespace)
	}
	signing, err := base64.StdEncoding.DecodeString(host.Spec.Identity.SigningKey)
	if err != nil {
		return wire.Identity{}, fmt.Errorf("spec.identity.signingKey of host %s: %w", host.Name, err)
	}
	sealing, err := base64.StdEncoding.DecodeString(host.Spec.Identity.SealingKey)
	if err != nil {
		return wire.Identity{}, fmt.Errorf("spec.identity.sealingKey of host %s: %w", host.Name, err)
	}
	identity := wire.Identity{SigningKey: signing, SealingKey: sealing}
	if err := identity.Validate(); err != nil {
		return wire.Identity{}, fmt.Errorf("spec.identity of host %s: %w", host.Name, err)
	}
	return identity, nil
}

// remove deletes a query that is done with; who gave up does not wait for it for long. It would expire by itself.
func (a *Asker) remove(ctx context.Context, query *v1alpha1.HostQuery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	_ = a.Client.Delete(ctx, query)
}

func (a *Asker) notice(format string, args ...any) {
	if a.Notice != nil {
		a.Notice(fmt.Sprintf(format, args...))
	}
}
