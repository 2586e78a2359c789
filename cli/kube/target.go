package kube

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Kinds of what a person names.
const (
	KindHost     = "host"
	KindJob      = "job"
	KindSchedule = "schedule"
)

var kindNames = map[string]string{
	"host": KindHost, "hosts": KindHost, "rhost": KindHost,
	"job": KindJob, "jobs": KindJob, "hostjob": KindJob, "hostjobs": KindJob, "rjob": KindJob,
	"schedule": KindSchedule, "schedules": KindSchedule, "rsched": KindSchedule,
}

// Split reads KIND/NAME, or a name alone, whose kind is then empty. What kubectl -o name prints is understood.
func Split(text string) (kind, name string, err error) {
	before, after, found := strings.Cut(text, "/")
	if !found {
		return "", text, nil
	}
	before, _, _ = strings.Cut(strings.ToLower(before), ".")
	kind = kindNames[before]
	if kind == "" || after == "" || strings.Contains(after, "/") {
		return "", "", fmt.Errorf("%q names nothing: write NAME, host/NAME, job/NAME or schedule/NAME", text)
	}
	return kind, after, nil
}

// GetHost reads a Host; where there is none, the error lists those that a person may have meant.
func GetHost(ctx context.Context, c client.Client, namespace, text string) (*v1alpha1.Host, error) {
	kind, name, err := Split(text)
	switch {
	case err != nil:
		return nil, err
	case kind != "" && kind != KindHost:
		return nil, fmt.Errorf("%q is no host: write its name, or host/NAME", text)
	}
	host := &v1alpha1.Host{}
	err = c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, host)
	if apierrors.IsNotFound(err) && served(err) {
		return nil, missing(ctx, c, namespace, "host", name, &v1alpha1.HostList{})
	}
	return host, err
}

// GetJob reads a HostJob likewise.
func GetJob(ctx context.Context, c client.Client, namespace, text string) (*v1alpha1.HostJob, error) {
	kind, name, err := Split(text)
	switch {
	case err != nil:
		return nil, err
	case kind != "" && kind != KindJob:
		return nil, fmt.Errorf("%q is no job: write its name, or job/NAME", text)
	}
	job := &v1alpha1.HostJob{}
	err = c.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, job)
	if apierrors.IsNotFound(err) && served(err) {
		return nil, missing(ctx, c, namespace, "job", name, &v1alpha1.HostJobList{})
	}
	return job, err
}

// served tells an object that is missing from a kind that is: for the latter the API server has no answer of its own.
func served(err error) bool {
	return !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// missing words that there is no such object, with the names that are near.
func missing(ctx context.Context, c client.Client, namespace, what, name string, list client.ObjectList) error {
	says := fmt.Sprintf("there is no %s %q in namespace %s", what, name, namespace)
	if names, err := Names(ctx, c, namespace, list); err == nil {
		if near := Nearest(name, names); near != "" {
			return fmt.Errorf("%s; did you mean %s?", says, near)
		}
		if len(names) == 0 {
			return fmt.Errorf("%s, nor any other: -n chooses another namespace", says)
		}
	}
	return fmt.Errorf("%s: -n chooses another namespace", says)
}
