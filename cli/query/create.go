package query

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/cli/kube"
)

// create makes the HostQuery, with its parameters sealed to the machine.
func (a *Asker) create(ctx context.Context, q Question, s *secrets) (*v1alpha1.HostQuery, error) {
	public := s.key.PublicKey().Bytes()
	sealed, err := seal.SealParameters(s.host, s.identity, q.Kind, public, q.Parameters)
	if err != nil {
		return nil, err
	}
	ttl := q.TTL
	if ttl == 0 {
		ttl = DefaultTTL
	}
	query := &v1alpha1.HostQuery{
		ObjectMeta: metav1.ObjectMeta{Namespace: q.Host.Namespace, GenerateName: generatePrefix(q.Host.Name)},
		Spec: v1alpha1.HostQuerySpec{
			HostRef: v1alpha1.LocalReference{Name: q.Host.Name}, Kind: v1alpha1.HostQueryKind(q.Kind), Parameters: sealed,
			PublicKey: public, StreamSecretHash: wire.StreamSecretHash(s.stream), TTLSeconds: int32(ttl / time.Second),
		},
	}
	if err := a.Client.Create(ctx, query); err != nil {
		return nil, err
	}
	return query, nil
}

// generatePrefix leaves room for what the API server appends.
func generatePrefix(host string) string {
	const most = 200
	return host[:min(len(host), most)] + "-"
}

// signed waits until the controllers have signed the query, and said where its answer is.
func (a *Asker) signed(ctx context.Context, q Question, query *v1alpha1.HostQuery) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errLate := errors.New("too late")
	timer := a.Clock.AfterFunc(signWait, func() { cancel(errLate) })
	defer timer.Stop()

	var last *v1alpha1.HostQuery
	err := kube.Until(waiting, a.Client, query.DeepCopy(), func(now *v1alpha1.HostQuery) (bool, error) {
		last = now
		if c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionStalled); c != nil && c.Status == metav1.ConditionTrue {
			return false, problem(ProblemStalled, nil, "the controllers do not sign the question: %s", c.Message)
		}
		return now.Status.Command != nil && now.Status.Gateway != nil, nil
	})
	switch {
	case err == nil:
		*query = *last.DeepCopy()
		return nil
	case errors.Is(context.Cause(waiting), errLate):
		return problem(ProblemNotSigned, nil, "%s", unsigned(q, last))
	case apierrors.IsNotFound(err):
		return problem(ProblemExpired, nil, "the question was deleted before it was answered: ask again")
	}
	return err
}

// unsigned says why a question may have stayed without signature.
func unsigned(q Question, last *v1alpha1.HostQuery) string {
	if last != nil {
		if c := meta.FindStatusCondition(last.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Status == metav1.ConditionFalse {
			return "the controllers do not sign the question: " + c.Message
		}
	}
	return "nobody signed the question to host " + q.Host.Name + " within " + signWait.String() +
		": the controllers do not run, or do not look after namespace " + q.Host.Namespace + " (kubectl get deployments -A -l app.kubernetes.io/name=restic-manager)"
}
