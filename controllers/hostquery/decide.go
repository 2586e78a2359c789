package hostquery

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// decision is what becomes of a query whose time is not over.
type decision struct {
	command *wire.HostQuery // what to sign; nil: nothing
	err     error           // keeps the query from being Ready; nil: it is, with message
	message string
}

// decide needs the Host that the query names, nil when there is none.
func decide(query *v1alpha1.HostQuery, host *v1alpha1.Host) decision {
	command, err := compile(query, host)
	if err != nil {
		return decision{err: err}
	}
	if c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionConnected); c != nil && c.Status != "True" {
		return decision{command: command, message: fmt.Sprintf(
			"signed, but the agent of Host %q is not connected (%s): its answer can be collected if it comes back until %s", host.Name, c.Reason, told(query))}
	}
	return decision{command: command, message: fmt.Sprintf("signed: the answer can be collected until %s", told(query))}
}

// compile returns what to sign, or what hinders it.
func compile(query *v1alpha1.HostQuery, host *v1alpha1.Host) (*wire.HostQuery, error) {
	name := query.Spec.HostRef.Name
	// What is wrong with the query itself is told first: it cannot be changed.
	if err := seal.CheckPublicKey(query.Spec.PublicKey); err != nil {
		return nil, status.Stalled(v1alpha1.ReasonInvalid, "spec.publicKey is no X25519 key that an answer can be sealed to: create another HostQuery with a new key")
	}
	switch {
	case host == nil:
		return nil, status.Waiting(v1alpha1.ReasonHostNotFound, 0, "spec.hostRef: there is no Host %q in this namespace, or it is being deleted: ask another one", name)
	case host.Spec.Identity == nil:
		return nil, status.Waiting(v1alpha1.ReasonNotEnrolled, 0, "Host %q is not enrolled: run the command in Secret %s on the machine", name, v1alpha1.EnrollmentSecretName(name))
	}
	identity, err := convert.Identity(host.Spec.Identity)
	if err != nil {
		return nil, status.Waiting(v1alpha1.ReasonInvalid, 0, "Host %q: spec.identity: %w", name, err)
	}
	command := &wire.HostQuery{
		Label:        wire.HostQueryLabel,
		Host:         convert.Ref(host),
		IdentityHash: identity.Hash(),
		Name:         query.Name,
		UID:          string(query.UID),
		NotAfter:     expiration(query),
		Kind:         wire.QueryKind(query.Spec.Kind),
		Parameters:   query.Spec.Parameters,
		PublicKey:    query.Spec.PublicKey,
	}
	if err := command.Validate(); err != nil {
		return nil, status.Stalled(v1alpha1.ReasonInvalid, "the query cannot be given to a machine: %w", err)
	}
	return command, nil
}

// expiration is also the command's notAfter.
func expiration(query *v1alpha1.HostQuery) time.Time {
	return query.CreationTimestamp.Add(time.Duration(query.Spec.TTLSeconds) * time.Second).UTC()
}

func told(query *v1alpha1.HostQuery) string { return expiration(query).Format(time.RFC3339) }
