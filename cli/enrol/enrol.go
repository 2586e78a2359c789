package enrol

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/kube"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// soonEnough is how far ahead a first backup may be that is waited for.
const soonEnough = 15 * time.Minute

// Request is which machine, and how its Host is made where there is none.
type Request struct {
	Namespace, Name string
	Repository      string
	// Credentials and AdminCredentials name Secrets; without the first a password is made.
	Credentials, AdminCredentials string
	CABundle                      string
	Labels                        map[string]string
	// MachineFlags are added to the line, for what the machine's owner allows.
	MachineFlags string
	// Again mints a token for a machine that is enrolled already.
	Again bool
	// NoWait ends after the line.
	NoWait  bool
	Timeout time.Duration
}

// Enroller enrols.
type Enroller struct {
	Client   client.WithWatch
	Terminal *terminal.Terminal
	Clock    clock.WithDelayedExecution
}

// Run takes a machine to its first backup.
func (e *Enroller) Run(ctx context.Context, r Request) error {
	host, err := e.host(ctx, r)
	if err != nil {
		return err
	}
	enrolled := meta.IsStatusConditionTrue(host.Status.Conditions, v1alpha1.ConditionEnrolled)
	if enrolled && !r.Again {
		e.Terminal.Notef("Host %s is enrolled already; --again makes a token for new keys.", r.Name)
	} else {
		if host, err = e.token(ctx, host, r.Again); err != nil {
			return err
		}
		if err := e.line(ctx, host, r); err != nil {
			return err
		}
	}
	if err := e.password(ctx, host); err != nil || r.NoWait {
		return err
	}
	return e.wait(ctx, host, r)
}

// host reads the Host, or makes it.
func (e *Enroller) host(ctx context.Context, r Request) (*v1alpha1.Host, error) {
	host := &v1alpha1.Host{}
	err := e.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, host)
	switch {
	case err == nil && r.Repository != "" && r.Repository != host.Spec.Repository.URL:
		return nil, fmt.Errorf("host %s exists with repository %s: leave out --repository, or change spec.repository.url of the Host", r.Name, host.Spec.Repository.URL)
	case err == nil:
		return host, nil
	case !apierrors.IsNotFound(err):
		return nil, err
	case r.Repository == "":
		_, err := kube.GetHost(ctx, e.Client, r.Namespace, r.Name)
		return nil, fmt.Errorf("%w. To make it, say where its backups go: --repository rest:https://backup.example.com/%s/", err, r.Name)
	}
	host = &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name, Labels: r.Labels}}
	host.Spec.Repository = v1alpha1.Repository{URL: r.Repository, CABundle: r.CABundle, CredentialsSecretRef: reference(r.Credentials), AdminCredentialsSecretRef: reference(r.AdminCredentials)}
	if err := e.Client.Create(ctx, host); err != nil {
		return nil, err
	}
	e.Terminal.Notef("Host %s is created.", r.Name)
	return host, nil
}

func reference(name string) *v1alpha1.LocalReference {
	if name == "" {
		return nil
	}
	return &v1alpha1.LocalReference{Name: name}
}

// token waits for a usable token, and asks for one where the last is used up.
func (e *Enroller) token(ctx context.Context, host *v1alpha1.Host, again bool) (*v1alpha1.Host, error) {
	c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionEnrolled)
	if again || c != nil && (c.Reason == v1alpha1.ReasonTokenExpired || c.Reason == v1alpha1.ReasonTokenVoid) {
		base := host.DeepCopy()
		metav1.SetMetaDataAnnotation(&host.ObjectMeta, v1alpha1.AnnotationMintToken, e.Clock.Now().UTC().Format(time.RFC3339Nano))
		if err := e.Client.Patch(ctx, host, client.MergeFrom(base)); err != nil {
			return nil, err
		}
	}
	wanted := host.Annotations[v1alpha1.AnnotationMintToken]
	const patience = 30 * time.Second
	err := e.until(ctx, patience, host, func(h *v1alpha1.Host) (bool, error) {
		if s := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionStalled); s != nil && s.Status == metav1.ConditionTrue {
			return false, fmt.Errorf("the Host is not accepted (%s): %s", s.Reason, s.Message)
		}
		n := h.Status.Enrollment
		return n != nil && n.TokenIDHash != "" && n.MintedFor == wanted && n.ExpiresAt != nil && n.ExpiresAt.After(e.Clock.Now()), nil
	})
	if errors.Is(err, errLate) {
		return nil, fmt.Errorf("no enrolment token was made within %s: the controllers do not run, or do not look after namespace %s. kubectl restic doctor %s -n %s tells more",
			patience, host.Namespace, host.Name, host.Namespace)
	}
	return host, err
}

var errLate = errors.New("too late")

// until is kube.Until with a limit; host holds the last state afterwards.
func (e *Enroller) until(ctx context.Context, limit time.Duration, host *v1alpha1.Host, done func(*v1alpha1.Host) (bool, error)) error {
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer e.Clock.AfterFunc(limit, func() { cancel(errLate) }).Stop()
	err := kube.Until(limited, e.Client, host.DeepCopy(), func(h *v1alpha1.Host) (bool, error) {
		h.DeepCopyInto(host)
		return done(h)
	})
	if err != nil && errors.Is(context.Cause(limited), errLate) {
		return errLate
	}
	return err
}

// line prints what to paste on the machine.
func (e *Enroller) line(ctx context.Context, host *v1alpha1.Host, r Request) error {
	secret := &corev1.Secret{}
	name := v1alpha1.EnrollmentSecretName(host.Name)
	if err := e.Client.Get(ctx, types.NamespacedName{Namespace: host.Namespace, Name: name}, secret); err != nil {
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("the line to paste is in Secret %s, which you may not read: %w", name, err)
		}
		return err
	}
	lines := Lines(secret.Data, r.MachineFlags)
	e.Terminal.Notef("Paste this line on the machine, until %s. %sIt is good for one machine, and as secret as a password:\n",
		host.Status.Enrollment.ExpiresAt.Local().Format(time.DateTime), lines.Does)
	e.Terminal.Printf("%s\n", lines.First)
	if lines.Other != "" {
		e.Terminal.Notef("\nWhere the agent is installed already:\n")
		e.Terminal.Notef("%s", lines.Other)
	}
	e.Terminal.Notef("")
	return nil
}

// password prints the line for a rest-server's user file, where the password was made here and may be read.
func (e *Enroller) password(ctx context.Context, host *v1alpha1.Host) error {
	if host.Status.MintedCredentials == nil {
		return nil
	}
	secret := &corev1.Secret{}
	err := e.Client.Get(ctx, types.NamespacedName{Namespace: host.Namespace, Name: host.Status.MintedCredentials.SecretName}, secret)
	if err != nil {
		return client.IgnoreNotFound(ignoreForbidden(err))
	}
	if line := Htpasswd(secret.Data); line != "" {
		e.Terminal.Notef("The repository's user was made here. Add this line to the rest-server's file .htpasswd, if it is not there yet:\n\n%s\n", line)
	}
	return nil
}

func ignoreForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// wait shows the steps as they are done.
func (e *Enroller) wait(ctx context.Context, host *v1alpha1.Host, r Request) error {
	shown, last := 0, ""
	late := false
	err := e.until(ctx, r.Timeout, host, func(h *v1alpha1.Host) (bool, error) {
		steps := Steps(h, e.Clock.Now())
		at := current(steps)
		for ; shown < len(steps) && (at < 0 || shown < at); shown++ {
			e.Terminal.Printf("%s %s: %s\n", e.Terminal.Tint(terminal.Good, "ok"), steps[shown].Name, steps[shown].Says)
		}
		if at < 0 {
			return true, nil
		}
		if at == len(steps)-1 {
			next := h.Status.NextRunTime
			if late = lastFailure(h) == "" && (next == nil || next.Sub(e.Clock.Now()) > soonEnough); late {
				return true, nil
			}
		}
		if text := steps[at].Name + ": " + steps[at].Says; text != last {
			last = text
			e.Terminal.Printf("%s %s\n", e.Terminal.Tint(terminal.Faint, ".."), text)
		}
		return false, nil
	})
	switch {
	case errors.Is(err, errLate):
		return fmt.Errorf("not done within %s; it waits for %s. kubectl restic doctor %s -n %s tells more", r.Timeout, last, host.Name, host.Namespace)
	case err != nil:
		return err
	case late:
		steps := Steps(host, e.Clock.Now())
		e.Terminal.Printf(".. first backup: %s\n", steps[len(steps)-1].Says)
		e.Terminal.Notef("The machine is ready. To back up now: kubectl restic run backup %s -n %s --wait", host.Name, host.Namespace)
	}
	return nil
}
