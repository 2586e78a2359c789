package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// rewatch is how long to wait before a watch that ended is begun again.
const rewatch = time.Second

// Until calls done with the states of an object, beginning with the present one, until it returns true or an error. The object needs its name and namespace;
// afterwards it holds the last state. An object that is deleted ends it with a NotFound error.
func Until[T client.Object](ctx context.Context, c client.WithWatch, object T, done func(T) (bool, error)) error {
	for {
		ok, err := once(ctx, c, object, done)
		if ok || err != nil && !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rewatch):
		}
	}
}

// passing tells errors that go by themselves from refusals and from what done returned.
func passing(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) ||
		apierrors.IsInternalError(err) || apierrors.IsResourceExpired(err)
}

// once watches first and reads then, so that nothing falls between. Without a result the watch has ended.
func once[T client.Object](ctx context.Context, c client.WithWatch, object T, done func(T) (bool, error)) (bool, error) {
	list, err := listOf(c, object)
	if err != nil {
		return false, err
	}
	key := client.ObjectKeyFromObject(object)
	w, err := c.Watch(ctx, list, client.InNamespace(key.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.Name)})
	if err != nil {
		return false, err
	}
	defer w.Stop()
	if err := c.Get(ctx, key, object); err != nil {
		return false, err
	}
	if ok, err := done(object); ok || err != nil {
		return ok, err
	}
	for {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case event, open := <-w.ResultChan():
			if !open {
				return false, nil
			}
			next, is := event.Object.(T)
			if event.Type == watch.Error {
				return false, nil // commonly too old a version: it is read again
			}
			if !is || next.GetName() != key.Name {
				continue
			}
			if event.Type == watch.Deleted {
				return false, notFound(c, object)
			}
			if ok, err := done(next); ok || err != nil {
				return ok, err
			}
		}
	}
}

func listOf(c client.Client, object client.Object) (client.ObjectList, error) {
	gvk, err := c.GroupVersionKindFor(object)
	if err != nil {
		return nil, err
	}
	gvk.Kind += "List"
	list, err := c.Scheme().New(gvk)
	if err != nil {
		return nil, err
	}
	return list.(client.ObjectList), nil
}

func notFound(c client.Client, object client.Object) error {
	gvk, err := c.GroupVersionKindFor(object)
	if err != nil {
		return err
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return apierrors.NewNotFound(plural.GroupResource(), object.GetName())
}
