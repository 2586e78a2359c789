package queries

import (
	"context"
	"encoding/base64"
	"fmt"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// Query is a HostQuery, as its answer needs it.
type Query struct {
	UID        string
	Host       wire.HostRef
	SecretHash string
	// Document and Signatures are the signed query; empty while it is not signed, or not any more.
	Document   string
	Signatures []wire.Signature
	// Expires is when it is void; zero before the controllers looked at it.
	Expires time.Time
}

// Book knows the queries in a cache.
type Book struct {
	cache cache.Cache

	mu        sync.Mutex
	listeners map[types.NamespacedName]map[chan struct{}]bool
}

// New returns a Book.
func New(c cache.Cache) *Book {
	return &Book{cache: c, listeners: map[types.NamespacedName]map[chan struct{}]bool{}}
}

// Watch subscribes to the cache. It may be called before the cache starts.
func (b *Book) Watch(ctx context.Context) error {
	informer, err := b.cache.GetInformer(ctx, &v1alpha1.HostQuery{}, cache.BlockUntilSynced(false))
	if err == nil {
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    b.changed,
			UpdateFunc: func(_, object any) { b.changed(object) },
			DeleteFunc: b.changed,
		})
	}
	if err != nil {
		return fmt.Errorf("watching HostQueries: %w", err)
	}
	return nil
}

// Query returns a query that is not being deleted; false when there is none.
func (b *Book) Query(namespace, name string) (Query, bool) {
	var q v1alpha1.HostQuery
	// The cache does not fail but for a query that it has not.
	if err := b.cache.Get(context.Background(), types.NamespacedName{Namespace: namespace, Name: name}, &q); err != nil || !q.DeletionTimestamp.IsZero() {
		return Query{}, false
	}
	query := Query{UID: string(q.UID), Host: wire.HostRef{Namespace: namespace, Name: q.Spec.HostRef.Name}, SecretHash: q.Spec.StreamSecretHash}
	if q.Status.ExpirationTime != nil {
		query.Expires = q.Status.ExpirationTime.Time
	}
	if signed := q.Status.Command; signed != nil && !query.Expires.IsZero() {
		query.Document, query.Signatures = signed.Document, signatures(signed.Signatures)
	}
	return query, true
}

// signatures leaves out what is no base64: the agent judges by the others.
func signatures(published []v1alpha1.Signature) []wire.Signature {
	out := make([]wire.Signature, 0, len(published))
	for _, s := range published {
		if value, err := base64.StdEncoding.DecodeString(s.Value); err == nil {
			out = append(out, wire.Signature{KeyID: s.KeyID, Value: value})
		}
	}
	return out
}

// Changes returns a channel that has a value after a change of a query. stop ends it.
func (b *Book) Changes(namespace, name string) (changes <-chan struct{}, stop func()) {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	listener := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners[key] == nil {
		b.listeners[key] = map[chan struct{}]bool{}
	}
	b.listeners[key][listener] = true
	return listener, func() { b.leave(key, listener) }
}

func (b *Book) leave(key types.NamespacedName, listener chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.listeners[key], listener)
	if len(b.listeners[key]) == 0 {
		delete(b.listeners, key)
	}
}

func (b *Book) changed(object any) {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	query, ok := object.(*v1alpha1.HostQuery)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for listener := range b.listeners[types.NamespacedName{Namespace: query.Namespace, Name: query.Name}] {
		select {
		case listener <- struct{}{}:
		default: // it has not looked since the last change
		}
	}
}
