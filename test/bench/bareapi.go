package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/test/env"
)

// bareGroup has copies of our kinds, which nobody watches: what one write costs without an operator.
const bareGroup = "bare.restic-manager.io"

// installBare adds the copies of Host and ScheduleSet.
func (w *world) installBare() error {
	root, err := env.Root()
	if err != nil {
		return err
	}
	for _, kind := range []string{"hosts", "schedulesets"} {
		raw, err := os.ReadFile(filepath.Join(root, "config/crd/bases/backup.restic-manager.io_"+kind+".yaml"))
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(raw), "backup.restic-manager.io", bareGroup)
		file := filepath.Join(w.Dir, kind+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		if err := w.CP.InstallCRDs(w.ctx, file); err != nil {
			return err
		}
	}
	return nil
}

// copies of our sets, by how their names begin.
type copies string

const (
	// usual ones are as the objects of any client.
	usual copies = "bare"
	// unmanaged ones have no managed fields, as ours (ADR 0040).
	unmanaged copies = "unmanaged"
)

func (c copies) name(i int) string { return fmt.Sprintf("%s-%d", c, i) }

// set is the i-th copy.
func (c copies) set(i int) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: bareGroup, Version: "v1alpha1", Kind: "ScheduleSet"})
	u.SetNamespace(namespace)
	u.SetName(c.name(i))
	return u
}

// copySets makes a copy of every agent's ScheduleSet, with its status.
func (w *world) copySets(c copies) error {
	return concurrently(w.count, atOnce, func(i int) error {
		original := &unstructured.Unstructured{}
		original.SetGroupVersionKind(schema.GroupVersionKind{Group: "backup.restic-manager.io", Version: "v1alpha1", Kind: "ScheduleSet"})
		if err := w.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: w.fleet.Agent(i).Name()}, original); err != nil {
			return err
		}
		bare := c.set(i)
		bare.Object["spec"] = original.Object["spec"]
		if err := w.Create(w.ctx, bare); err != nil {
			return err
		}
		if c == unmanaged {
			forget := []byte(`{"metadata":{"managedFields":[{}]}}`)
			if err := w.Patch(w.ctx, bare, client.RawPatch(types.MergePatchType, forget)); err != nil {
				return err
			}
		}
		bare.Object["status"] = original.Object["status"]
		return w.Status().Update(w.ctx, bare)
	})
}

// removeCopies deletes them again: the API server keeps all that it has in memory.
func (w *world) removeCopies(c copies) error {
	return concurrently(w.count, atOnce, func(i int) error { return w.Delete(w.ctx, c.set(i)) })
}

// bareStatus is one patch of the status of a copy, and how long it takes. Like the gateway, it has the API server answer with the metadata alone.
func (w *world) bareStatus(ctx context.Context, c copies, i int) (time.Duration, error) {
	patch := fmt.Appendf(nil, `{"status":{"appliedRevision":"%d"}}`, time.Now().UnixNano())
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(schema.GroupVersionKind{Group: bareGroup, Version: "v1alpha1", Kind: "ScheduleSet"})
	object.SetNamespace(namespace)
	object.SetName(c.name(i))
	began := time.Now()
	err := w.Status().Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
	return time.Since(began), err
}

// bareSpec writes the signature of a copy anew, and with it the whole object.
func (w *world) bareSpec(ctx context.Context, c copies, i int) error {
	patch := fmt.Appendf(nil, `{"spec":{"revision":"%016x"}}`, time.Now().UnixNano())
	return w.Patch(ctx, c.set(i), client.RawPatch(types.MergePatchType, patch))
}
