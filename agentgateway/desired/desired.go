package desired

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Link is the session of a host, as this package needs it.
type Link interface {
	Host() wire.HostRef
	Counter() int64
	Offer(*wire.SetOffer)
	Send(wire.Message) error
	Close(*wire.Error)
}

// Hub finds the sessions of this replica.
type Hub interface {
	// Link returns the current link of a host; false without one.
	Link(wire.HostRef) (Link, bool)
}

// Jobs marks jobs as sent.
type Jobs interface {
	// Dispatched marks a job as sent, before it is; false says that it is not to be sent.
	Dispatched(ctx context.Context, link Link, job *v1alpha1.HostJob) (bool, error)
}

// Options of a Pusher. All are required.
type Options struct {
	Cache cache.Cache
	// Whole returns a cached set in full, or nil: then it is read by Live.
	Whole  func(cached *v1alpha1.ScheduleSet) *v1alpha1.ScheduleSet
	Live   client.Reader
	Hub    Hub
	Jobs   Jobs
	Logger *slog.Logger
	// Workers is how many hosts are brought up to date at once.
	Workers int
}

// Pusher keeps agents up to date.
type Pusher struct {
	o     Options
	queue workqueue.TypedRateLimitingInterface[wire.HostRef]

	mu sync.Mutex
	// sessions holds what was sent in the current session of each host.
	sessions map[wire.HostRef]*sent
}

// sent is what one session was given.
type sent struct {
	link     Link
	key      string // the signing key that the session was opened with
	revision string
	// tombstone: the set was one when it was looked at last.
	tombstone bool
	// greeted is the serial of the set that the agent came with, 0 for none.
	greeted int64
	// serial is that of the set which was offered, 0 before. A set that somebody damaged is replaced by one of the same revision.
	serial int64
	// run and cancel are the HostJobs, by UID, of which the command and its cancellation were sent; nil before the first.
	run, cancel map[string]bool
}

// New returns a Pusher. HostJobs must be indexed with IndexJobs before the cache starts.
func New(o Options) *Pusher {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[wire.HostRef](100*time.Millisecond, 30*time.Second)
	return &Pusher{o: o, sessions: map[wire.HostRef]*sent{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[wire.HostRef]{Name: "desired"})}
}

// Opened takes a session in: with the key that its hello was verified with, and revision and serial of the set that the agent has in force.
func (p *Pusher) Opened(link Link, signingKey, revision string, serial int64) {
	p.mu.Lock()
	p.sessions[link.Host()] = &sent{link: link, key: signingKey, revision: revision, greeted: serial}
	p.mu.Unlock()
	p.queue.Add(link.Host())
}

// Closed forgets a session, unless the host has another by now.
func (p *Pusher) Closed(link Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sessions[link.Host()]; s != nil && s.link == link {
		delete(p.sessions, link.Host())
	}
}

func (p *Pusher) session(host wire.HostRef) *sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions[host]
}

// Watch subscribes to the cache. It may be called before the cache starts.
func (p *Pusher) Watch(ctx context.Context) error {
	for _, object := range []client.Object{&v1alpha1.ScheduleSet{}, &v1alpha1.HostJob{}} {
		informer, err := p.o.Cache.GetInformer(ctx, object, cache.BlockUntilSynced(false))
		if err != nil {
			return fmt.Errorf("watching %T: %w", object, err)
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    p.changed,
			UpdateFunc: func(_, object any) { p.changed(object) },
			DeleteFunc: p.changed,
		})
		if err != nil {
			return fmt.Errorf("watching %T: %w", object, err)
		}
	}
	return nil
}

func (p *Pusher) changed(object any) {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	var host wire.HostRef
	switch o := object.(type) {
	case *v1alpha1.ScheduleSet:
		host = wire.HostRef{Namespace: o.Namespace, Name: o.Name}
	case *v1alpha1.HostJob:
		host = wire.HostRef{Namespace: o.Namespace, Name: o.Spec.HostRef.Name}
	default:
		return
	}
	if p.session(host) != nil {
		p.queue.Add(host)
	}
}

// Run works until ctx ends.
func (p *Pusher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for range p.o.Workers {
		wg.Go(func() {
			for p.work(ctx) {
			}
		})
	}
	<-ctx.Done()
	p.queue.ShutDown()
	wg.Wait()
}

func (p *Pusher) work(ctx context.Context) bool {
	host, shutdown := p.queue.Get()
	if shutdown {
		return false
	}
	defer p.queue.Done(host)
	err := p.sync(ctx, host)
	if err == nil || ctx.Err() != nil {
		p.queue.Forget(host)
		return true
	}
	p.o.Logger.Warn("agent not brought up to date yet", "host", host.String(), "error", err)
	p.queue.AddRateLimited(host)
	return true
}

// sync brings one agent up to date: who it is, then its set, then its jobs.
func (p *Pusher) sync(ctx context.Context, host wire.HostRef) error {
	s := p.session(host)
	if s == nil {
		return nil
	}
	if current, ok := p.o.Hub.Link(host); !ok || current != s.link {
		return nil
	}
	var set v1alpha1.ScheduleSet
	err := p.o.Cache.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Name}, &set)
	if apierrors.IsNotFound(err) {
		end, err := p.withoutSet(ctx, s)
		if err == nil {
			s.link.Close(end)
		}
		return err
	}
	if err != nil {
		return err
	}
	s.tombstone = set.Spec.Tombstone
	if end := p.mustEnd(&set, s); end != nil {
		s.link.Close(end)
		return nil
	}
	if err := p.offer(ctx, &set, s); err != nil {
		return fmt.Errorf("offering the set: %w", err)
	}
	if set.Spec.Tombstone {
		return nil // jobs under the Host's name are another machine's, or go with the Host
	}
	if err := p.jobs(ctx, host, s); err != nil {
		return fmt.Errorf("sending commands: %w", err)
	}
	return nil
}

// withoutSet says why a session ends whose set is gone. While there is the Host, somebody deleted the set alone.
func (p *Pusher) withoutSet(ctx context.Context, s *sent) (*wire.Error, error) {
	host := s.link.Host()
	if s.tombstone {
		return removed(fmt.Sprintf("Host %s was deleted", host)), nil
	}
	var h v1alpha1.Host
	err := p.o.Live.Get(ctx, client.ObjectKey{Namespace: host.Namespace, Name: host.Name}, &h)
	switch {
	case apierrors.IsNotFound(err), err == nil && !h.DeletionTimestamp.IsZero():
		return removed(fmt.Sprintf("Host %s was deleted", host)), nil
	case err != nil:
		return nil, fmt.Errorf("looking for the Host: %w", err)
	}
	return &wire.Error{Code: wire.CodeUnknownHost, Message: fmt.Sprintf("the schedule set of Host %s was deleted; the controllers make it anew", host)}, nil
}

func removed(message string) *wire.Error {
	return &wire.Error{Code: wire.CodeHostRemoved, Message: message}
}

// mustEnd says why a session may not go on, or nil.
func (p *Pusher) mustEnd(set *v1alpha1.ScheduleSet, s *sent) *wire.Error {
	if !set.DeletionTimestamp.IsZero() {
		return removed(fmt.Sprintf("Host %s is being deleted", s.link.Host()))
	}
	if set.Spec.Host.Identity.SigningKey != s.key {
		return removed(fmt.Sprintf("the identity of Host %s has changed", s.link.Host()))
	}
	if c := set.Status.Connection; c != nil && c.Session > s.link.Counter() {
		return &wire.Error{Code: wire.CodeSuperseded, Message: "a newer connection of this host took over"}
	}
	return nil
}

// has tells whether the agent was given this very set, or came with one that says the same.
func (s *sent) has(set *v1alpha1.ScheduleSet) bool {
	return set.Spec.Revision == s.revision && (s.serial == 0 || s.serial == set.Spec.Serial)
}

// errSetChanged: the set that was read is not one for this session any more.
var errSetChanged = errors.New("the identity in the set changed meanwhile")

// offer sends the newest set when the agent does not have it.
func (p *Pusher) offer(ctx context.Context, cached *v1alpha1.ScheduleSet, s *sent) error {
	if s.has(cached) {
		return nil
	}
	set := p.o.Whole(cached)
	if set == nil || cached.Spec.Serial <= s.greeted { // the agent knows a newer one, which the watch has not brought yet
		set = &v1alpha1.ScheduleSet{}
		// Not older than what is known: this, the API server answers from its own memory.
		known := &client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: cached.ResourceVersion}}
		if err := p.o.Live.Get(ctx, client.ObjectKeyFromObject(cached), set, known); err != nil {
			return client.IgnoreNotFound(err) // the watch will say so too
		}
	}
	if set.Spec.Host.Identity.SigningKey != s.key {
		return errSetChanged
	}
	if s.has(set) {
		return nil // the cache is behind
	}
	offer, err := offerOf(set)
	if err != nil {
		p.o.Logger.Error("the published set cannot be sent", "host", s.link.Host().String(), "revision", set.Spec.Revision, "error", err)
		return nil
	}
	s.link.Offer(offer)
	s.revision, s.serial = set.Spec.Revision, set.Spec.Serial
	p.o.Logger.Info("set offered", "host", s.link.Host().String(), "revision", set.Spec.Revision, "serial", set.Spec.Serial)
	return nil
}
