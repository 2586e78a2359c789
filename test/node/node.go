package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/restic-manager/restic-manager/test/env"
)

// Name is the node's.
const Name = "node-1"

// Controllers are those of the controller manager that a node's work depends on, beside those that every test control plane has.
var Controllers = []string{
	"deployment-controller", "replicaset-controller", "endpointslice-controller", "disruption-controller", "root-ca-certificate-publisher-controller",
}

// tick is how often the node looks at its Pods and Services, and how often probes are made.
const tick = 250 * time.Millisecond

// Options of a node.
type Options struct {
	// Dir holds everything; required.
	Dir string
	// ControlPlane is whose node it is; required.
	ControlPlane *env.ControlPlane
	// Images are OCI archives, or folders with the files, by the names that Pods use.
	Images map[string]string
	// Log gets progress, default: none.
	Log func(format string, args ...any)
}

// Node runs the Pods of a control plane.
type Node struct {
	Options
	client kubernetes.Interface
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	images map[string]*unpacked
	pods   map[types.UID]*pod
	// number is that of the Pod that was started last: names and addresses follow from it.
	number int
	proxy  *proxies
}

type unpacked struct {
	root   string
	config *ImageConfig
}

// Start registers the node and begins to run Pods.
func Start(ctx context.Context, o Options) (*Node, error) {
	if o.Dir == "" || o.ControlPlane == nil {
		return nil, errors.New("node.Start: Dir and ControlPlane are required")
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	n := &Node{Options: o, client: o.ControlPlane.Client(), images: map[string]*unpacked{}, pods: map[types.UID]*pod{}}
	object := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Name, Labels: map[string]string{corev1.LabelHostname: Name, corev1.LabelOSStable: "linux"}}}
	if _, err := n.client.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	var err error
	if n.proxy, err = newProxies(o.ControlPlane, n.client); err != nil {
		return nil, err
	}
	// The node outlives the call.
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.done.Go(func() { n.run(ctx) })
	return n, nil
}

// Stop ends all Pods at once, and the node.
func (n *Node) Stop() error {
	n.cancel()
	n.done.Wait()
	return n.proxy.close()
}

func (n *Node) run(ctx context.Context) {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		if err := errors.Join(n.look(ctx), n.proxy.look(ctx)); err != nil && ctx.Err() == nil {
			n.Log("node: %v", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
	}
}

// look takes Pods that nobody runs, and ends what is left of those that are gone.
func (n *Node) look(ctx context.Context) error {
	list, err := n.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	there := map[types.UID]bool{}
	for i := range list.Items {
		p := &list.Items[i]
		there[p.UID] = true
		if p.Spec.NodeName == "" {
			if err := n.bind(ctx, p); err != nil {
				return err
			}
			continue
		}
		n.take(ctx, p)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for uid, p := range n.pods {
		if !there[uid] {
			p.vanish()
			delete(n.pods, uid)
		}
	}
	return nil
}

// bind is the scheduler's part.
func (n *Node) bind(ctx context.Context, p *corev1.Pod) error {
	if p.DeletionTimestamp != nil {
		return nil
	}
	err := n.client.CoreV1().Pods(p.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: p.Name, UID: p.UID}, Target: corev1.ObjectReference{Kind: "Node", Name: Name},
	}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// take starts the goroutine of a Pod, and tells it of changes.
func (n *Node) take(ctx context.Context, object *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.pods[object.UID]; known != nil {
		known.update(object)
		return
	}
	if object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed {
		return
	}
	n.number++
	p := &pod{
		node: n, object: object.DeepCopy(), number: n.number, ip: fmt.Sprintf("10.244.0.%d", n.number+1),
		dir: filepath.Join(n.Dir, "pods", object.Namespace+"_"+object.Name), changed: make(chan struct{}, 1),
	}
	n.pods[object.UID] = p
	n.done.Go(func() { p.run(ctx) })
}

// image unpacks an image once.
func (n *Node) image(name string) (*unpacked, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if u := n.images[name]; u != nil {
		return u, nil
	}
	archive, ok := n.Images[name]
	if !ok {
		return nil, fmt.Errorf("image %s is not there", name)
	}
	u, err := imageOf(archive, filepath.Join(n.Dir, "images", fmt.Sprint(len(n.images))))
	if err != nil {
		return nil, err
	}
	n.images[name] = u
	return u, nil
}

// LogFile is where the programs of a Pod write.
func (n *Node) LogFile(namespace, name string) string {
	return filepath.Join(n.Dir, "logs", namespace+"_"+name+".log")
}

// ReadLog returns what a Pod has written.
func (n *Node) ReadLog(namespace, name string) (string, error) {
	raw, err := os.ReadFile(n.LogFile(namespace, name))
	return string(raw), err
}
