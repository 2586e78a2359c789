package webhook

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// maxWarnings bounds the warnings of one answer, maxWarning each of them in bytes: the API server cuts what is longer.
	maxWarnings = 8
	maxWarning  = 256
)

// judge decides on the objects of one kind. What is nil is not asked.
type judge[T client.Object] struct {
	// refuse lists what cannot work in an object, whatever else there is.
	refuse func(T) field.ErrorList
	// warn tells what does not work yet, with what there is in the namespace. It is not asked about an object that something is wrong with.
	warn func(context.Context, view, T) ([]string, error)
	// keep tells why an object must stay; an empty refusal lets it go. user is who deletes it.
	keep func(ctx context.Context, see sight, user string, object T) (refusal string, warnings []string, err error)
}

// handler answers the API server for one kind.
type handler[T client.Object] struct {
	judge   judge[T]
	kind    schema.GroupKind
	decoder admission.Decoder
	see     sight
	watched func(namespace string) bool
}

func newHandler[T client.Object](scheme *runtime.Scheme, kind string, see sight, watched func(string) bool, j judge[T]) *admission.Webhook {
	h := &handler[T]{
		judge: j, kind: schema.GroupKind{Group: v1alpha1.GroupVersion.Group, Kind: kind}, decoder: admission.NewDecoder(scheme), see: see, watched: watched,
	}
	// A panic ends the connection, which the API server ignores; a recovered one would be a refusal.
	return (&admission.Webhook{Handler: h}).WithRecoverPanic(false)
}

// Handle implements admission.Handler.
func (h *handler[T]) Handle(ctx context.Context, req admission.Request) admission.Response {
	if !h.watched(req.Namespace) || req.SubResource != "" {
		return admission.Allowed("")
	}
	var response admission.Response
	var err error
	switch req.Operation {
	case admissionv1.Create, admissionv1.Update:
		response, err = h.written(ctx, req)
	case admissionv1.Delete:
		response, err = h.deleted(ctx, req)
	default:
		return admission.Allowed("")
	}
	switch {
	case err != nil && ctx.Err() == nil:
		log.FromContext(ctx).Error(err, "the object could not be judged, so it passes", "operation", req.Operation)
		return admission.Allowed("")
	case err != nil:
		return admission.Allowed("") // nobody waits for the answer any more
	case !response.Allowed:
		log.FromContext(ctx).V(1).Info("refused", "operation", req.Operation, "because", response.Result.Message)
	}
	return response
}

func (h *handler[T]) written(ctx context.Context, req admission.Request) (admission.Response, error) {
	object := newObject[T]()
	if err := h.decoder.DecodeRaw(req.Object, object); err != nil {
		return admission.Response{}, fmt.Errorf("reading the object: %w", err)
	}
	if !object.GetDeletionTimestamp().IsZero() {
		return admission.Allowed(""), nil // what is still done to it makes it go
	}
	var now, before field.ErrorList
	if h.judge.refuse != nil {
		now = h.judge.refuse(object)
	}
	if len(now) > 0 && req.Operation == admissionv1.Update {
		old := newObject[T]()
		if err := h.decoder.DecodeRaw(req.OldObject, old); err != nil {
			return admission.Response{}, fmt.Errorf("reading the object as it was: %w", err)
		}
		before = h.judge.refuse(old)
	}
	refused, warnings := worse(now, before)
	if len(refused) > 0 {
		status := apierrors.NewInvalid(h.kind, object.GetName(), refused).Status()
		return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &status, Warnings: bounded(warnings)}}, nil
	}
	if h.judge.warn != nil && len(now) == 0 {
		var err error
		warnings, err = h.see.twice(req.Namespace, func(v view) ([]string, error) { return h.judge.warn(ctx, v, object) })
		if err != nil {
			return admission.Response{}, err
		}
	}
	return admission.Allowed("").WithWarnings(bounded(warnings)...), nil
}

func (h *handler[T]) deleted(ctx context.Context, req admission.Request) (admission.Response, error) {
	if h.judge.keep == nil {
		return admission.Allowed(""), nil
	}
	object := newObject[T]()
	if err := h.decoder.DecodeRaw(req.OldObject, object); err != nil {
		return admission.Response{}, fmt.Errorf("reading the object: %w", err)
	}
	refusal, warnings, err := h.judge.keep(ctx, h.see, req.UserInfo.Username, object)
	if err != nil {
		return admission.Response{}, err
	}
	if refusal != "" {
		status := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: refusal}
		return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &status}}, nil
	}
	return admission.Allowed("").WithWarnings(bounded(warnings)...), nil
}

// worse tells what is wrong now and was not before from what was, which is only worth a warning.
func worse(now, before field.ErrorList) (refused field.ErrorList, warnings []string) {
	for _, err := range now {
		if !slices.ContainsFunc(before, func(b *field.Error) bool { return b.Field == err.Field && b.Detail == err.Detail }) {
			refused = append(refused, err)
			continue
		}
		warnings = append(warnings, fmt.Sprintf("%s: %s (as before this change, so it is not refused)", err.Field, err.Detail))
	}
	return refused, warnings
}

// invalid is a field error without the field's value: the messages quote what matters of it.
func invalid(path, detail string) *field.Error {
	return &field.Error{Type: field.ErrorTypeInvalid, Field: path, BadValue: field.OmitValueType{}, Detail: detail}
}

func bounded(warnings []string) []string {
	var kept []string
	for i, w := range warnings {
		if left := len(warnings) - i; i == maxWarnings-1 && left > 1 {
			return append(kept, fmt.Sprintf("and %d more", left))
		}
		kept = append(kept, wire.Cut(w, maxWarning))
	}
	return kept
}

// newObject makes what T points to.
func newObject[T client.Object]() T {
	object, _ := reflect.New(reflect.TypeFor[T]().Elem()).Interface().(T)
	return object
}
