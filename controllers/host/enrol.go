package host

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/controllers/internal/convert"
	"github.com/restic-manager/restic-manager/controllers/status"
)

// maxEnrolmentSteps is more than any enrolment takes in one go: the fifth wrong proof, void, mint.
const maxEnrolmentSteps = 5

// enrol does what the enrolment needs, step by step, and says when its token expires.
func (r *Reconciler) enrol(ctx context.Context, host *v1alpha1.Host) (ctrl.Result, error) {
	for range maxEnrolmentSteps {
		facts := r.enrolmentFacts(host)
		var secret *corev1.Secret
		if facts.needsToken() {
			var err error
			if secret, err = r.enrolmentSecret(ctx, host); err != nil {
				return ctrl.Result{}, err
			}
			if token := tokenIn(secret); r.follows(token) {
				facts.token = token
			}
			facts.stale = r.stale(secret)
		}
		step := facts.next()
		if step == stepNone {
			return untilExpiry(facts), nil
		}
		if err := r.take(ctx, step, host, facts, secret); err != nil {
			return ctrl.Result{}, fmt.Errorf("enrolment: %w", err)
		}
		log.FromContext(ctx).Info("took a step of the enrolment", "step", step)
	}
	return ctrl.Result{RequeueAfter: conflictDelay}, nil
}

func (r *Reconciler) enrolmentFacts(host *v1alpha1.Host) *enrolmentFacts {
	facts := &enrolmentFacts{
		pinned:       host.Spec.Identity != nil,
		enrolledWith: host.Annotations[v1alpha1.AnnotationEnrolledWith],
		asked:        host.Annotations[v1alpha1.AnnotationMintToken],
		recorded:     host.Status.Enrollment,
		request:      parseRequest(host.Status.EnrollmentRequest),
		hostUID:      string(host.UID),
		now:          r.Clock.Now(),
	}
	if identity, err := identityOf(host); err == nil && identity != nil {
		facts.identityHash = identity.Hash()
	}
	return facts
}

// parseRequest returns nil for a malformed request too: the gateway lets none of these through.
func parseRequest(request *v1alpha1.EnrollmentRequest) *enrolmentRequest {
	if request == nil {
		return nil
	}
	identity, err := convert.Identity(&v1alpha1.HostIdentity{SigningKey: request.SigningKey, SealingKey: request.SealingKey})
	if err != nil {
		return nil
	}
	proof, err := base64.StdEncoding.DecodeString(request.Proof)
	if err != nil {
		return nil
	}
	return &enrolmentRequest{tokenIDHash: request.TokenIDHash, identity: identity, proof: proof}
}

func untilExpiry(facts *enrolmentFacts) ctrl.Result {
	if facts.open() == "" || facts.recorded.ExpiresAt == nil || !facts.now.Before(facts.recorded.ExpiresAt.Time) {
		return ctrl.Result{}
	}
	return ctrl.Result{RequeueAfter: facts.recorded.ExpiresAt.Sub(facts.now)}
}

func (r *Reconciler) take(ctx context.Context, step enrolmentStep, host *v1alpha1.Host, facts *enrolmentFacts, secret *corev1.Secret) error {
	switch step {
	case stepMint:
		return r.mint(ctx, host, facts, secret)
	case stepRewrite:
		return r.writeToken(ctx, host, secret, facts.token)
	case stepApprove:
		return r.pin(ctx, host, facts)
	case stepFinish:
		return r.finish(ctx, host, facts, secret)
	case stepConfirm:
		return r.confirm(ctx, host, facts)
	case stepRefuse:
		return r.refuse(ctx, host, facts, wire.EnrolWrongProof, facts.recorded.FailedAttempts+1,
			"the token is not the one in the enrollment Secret any more, or was changed: copy the whole command from the Secret again")
	case stepRefuseExpired:
		return r.refuse(ctx, host, facts, wire.EnrolTokenExpired, facts.recorded.FailedAttempts, "the token has expired: ask for a new one")
	case stepVoid:
		return r.void(ctx, host, secret)
	case stepRemoveExpired:
		return r.deleteToken(ctx, secret)
	}
	return fmt.Errorf("unknown step %q", step)
}

// mint puts a token into the Secret, then its hash into status.
func (r *Reconciler) mint(ctx context.Context, host *v1alpha1.Host, facts *enrolmentFacts, secret *corev1.Secret) error {
	token := facts.token
	if !r.usable(secret, token, host) || wire.TokenIDHash(token.ID) == facts.open() {
		set := &v1alpha1.ScheduleSet{}
		switch err := r.Client.Get(ctx, client.ObjectKeyFromObject(host), set); {
		case apierrors.IsNotFound(err):
			set = nil
		case err != nil:
			return err
		}
		var err error
		if token, err = r.newToken(host, set); err != nil {
			return err
		}
		if err := r.writeToken(ctx, host, secret, token); err != nil {
			return err
		}
	}
	return r.patchEnrolment(ctx, host, func(e *v1alpha1.EnrollmentStatus) {
		// An enrolled machine may still be waiting for its verdict.
		used, verdict := e.UsedTokenIDHash, e.Verdict
		if !facts.pinned {
			used, verdict = "", nil
		}
		*e = v1alpha1.EnrollmentStatus{
			TokenIDHash: wire.TokenIDHash(token.ID), ExpiresAt: new(metav1.NewTime(token.NotAfter)), MintedFor: facts.asked,
			UsedTokenIDHash: used, Verdict: verdict,
		}
	}, func() {
		r.Recorder.Eventf(host, nil, corev1.EventTypeNormal, v1alpha1.EventTokenMinted, "Enrol",
			"an enrolment token is in Secret %s until %s", v1alpha1.EnrollmentSecretName(host.Name), token.NotAfter.Format(time.RFC3339))
	})
}

// pin writes the machine's keys into the spec, together with the token that proved them.
func (r *Reconciler) pin(ctx context.Context, host *v1alpha1.Host, facts *enrolmentFacts) error {
	base := host.DeepCopy()
	host.Spec.Identity = convert.HostIdentity(facts.request.identity)
	metav1.SetMetaDataAnnotation(&host.ObjectMeta, v1alpha1.AnnotationEnrolledWith, facts.open())
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, host, patch, client.FieldOwner(v1alpha1.ManagerControllers)); err != nil {
		return fmt.Errorf("pinning the identity: %w", err)
	}
	return nil
}

// finish burns the token that pinned the identity and signs the verdict for that identity.
func (r *Reconciler) finish(ctx context.Context, host *v1alpha1.Host, facts *enrolmentFacts, secret *corev1.Secret) error {
	identity, err := identityOf(host)
	if err != nil {
		return err
	}
	verdict, err := r.approval(host, facts.open(), identity.Hash())
	if err != nil {
		return err
	}
	if err := r.deleteToken(ctx, secret); err != nil {
		return err
	}
	return r.patchEnrolment(ctx, host, func(e *v1alpha1.EnrollmentStatus) {
		*e = v1alpha1.EnrollmentStatus{MintedFor: e.MintedFor, UsedTokenIDHash: e.TokenIDHash, Verdict: verdict}
	}, func() {
		r.Recorder.Eventf(host, nil, corev1.EventTypeNormal, v1alpha1.EventEnrolled, "Enrol",
			"a machine that calls itself %q was enrolled with identity %.16s", hostname(host), identity.Hash())
	})
}

// confirm signs the verdict of an enrolment that is over.
func (r *Reconciler) confirm(ctx context.Context, host *v1alpha1.Host, facts *enrolmentFacts) error {
	verdict, err := r.approval(host, facts.enrolledWith, facts.identityHash)
	if err != nil {
		return err
	}
	return r.patchEnrolment(ctx, host, func(e *v1alpha1.EnrollmentStatus) { e.Verdict = verdict }, func() {})
}

func (r *Reconciler) refuse(ctx context.Context, host *v1alpha1.Host, facts *enrolmentFacts, reason wire.EnrolReason, attempts int32, message string) error {
	verdict, err := r.verdict(host, facts.open(), facts.request.identity.Hash(), reason, message)
	if err != nil {
		return err
	}
	return r.patchEnrolment(ctx, host, func(e *v1alpha1.EnrollmentStatus) {
		e.FailedAttempts, e.Verdict = attempts, verdict
	}, func() {
		r.Recorder.Eventf(host, nil, corev1.EventTypeWarning, v1alpha1.EventEnrolmentRefused, "Enrol",
			"a machine that calls itself %q was refused (%s): %s", hostname(host), reason, message)
	})
}

// void burns a token that was guessed at.
func (r *Reconciler) void(ctx context.Context, host *v1alpha1.Host, secret *corev1.Secret) error {
	if err := r.deleteToken(ctx, secret); err != nil {
		return err
	}
	return r.patchEnrolment(ctx, host, func(e *v1alpha1.EnrollmentStatus) {
		e.TokenIDHash, e.ExpiresAt = "", nil
	}, func() {
		r.Recorder.Eventf(host, nil, corev1.EventTypeWarning, v1alpha1.EventEnrolmentRefused, "Enrol",
			"the enrolment token is void after %d wrong proofs", maxFailedAttempts)
	})
}

// patchEnrolment changes status.enrollment if nobody changed the Host since it was read, and then announces it.
func (r *Reconciler) patchEnrolment(ctx context.Context, host *v1alpha1.Host, change func(*v1alpha1.EnrollmentStatus), announce func()) error {
	base := host.DeepCopy()
	if host.Status.Enrollment == nil {
		host.Status.Enrollment = &v1alpha1.EnrollmentStatus{}
	}
	change(host.Status.Enrollment)
	if err := status.Patch(ctx, r.Client, base, host, status.WithLock()); err != nil {
		return err
	}
	announce()
	return nil
}

func hostname(host *v1alpha1.Host) string {
	if host.Status.EnrollmentRequest == nil {
		return ""
	}
	return host.Status.EnrollmentRequest.Hostname
}
