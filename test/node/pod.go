package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// restartDelay is the wait before a program that ended is started again.
const restartDelay = time.Second

// pod is one Pod on the node. run owns everything but object and gone.
type pod struct {
	node   *Node
	number int
	ip     string
	dir    string

	mu     sync.Mutex
	object *corev1.Pod
	gone   bool
	// changed wakes run.
	changed chan struct{}

	volumes  *volumes
	process  *container
	restarts int32
	probes   probes
	told     corev1.PodStatus
	// ended is how the last run of the program ended, which is over when process is nil.
	ended *corev1.ContainerStateTerminated
	again time.Time
	// stopping is when the program was asked to end.
	stopping time.Time
	// waiting is why the program is not started yet.
	waiting string
}

// update hands in what the API server has now.
func (p *pod) update(object *corev1.Pod) {
	p.mu.Lock()
	p.object = object.DeepCopy()
	p.mu.Unlock()
	p.wake()
}

// vanish ends a Pod whose object is gone.
func (p *pod) vanish() {
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	p.wake()
}

func (p *pod) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *pod) current() (*corev1.Pod, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.object, p.gone
}

func (p *pod) run(ctx context.Context) {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		done, err := p.step(ctx)
		if err != nil && ctx.Err() == nil {
			p.node.Log("pod %s: %v", p.object.Name, err)
		}
		if done || ctx.Err() != nil {
			p.kill()
			return
		}
		select {
		case <-ctx.Done():
		case <-p.changed:
		case <-clock.C:
		}
	}
}

// step brings the program to where the object wants it, and tells the API server.
func (p *pod) step(ctx context.Context) (done bool, err error) {
	object, gone := p.current()
	p.reap(object)
	switch {
	case gone:
		return true, nil
	case object.DeletionTimestamp != nil:
		if p.stop(object) {
			return true, p.remove(ctx, object)
		}
	case p.process == nil && p.over(object):
		return true, p.tell(ctx, object)
	case p.process == nil && time.Now().After(p.again):
		p.waiting = ""
		if err := p.start(ctx, object); err != nil {
			p.waiting = err.Error()
			p.again = time.Now().Add(restartDelay)
		}
	case p.process != nil:
		if err := p.volumes.sync(ctx); err != nil {
			return false, err
		}
		if !p.probes.look(ctx, &object.Spec.Containers[0], p.ip) {
			p.node.Log("pod %s: its liveness probe fails, it is started again: %v", object.Name, p.probes.failure)
			p.kill()
		}
	}
	return false, p.tell(ctx, object)
}

// over tells whether the program is not to run again.
func (p *pod) over(object *corev1.Pod) bool {
	switch {
	case p.ended == nil:
		return false
	case object.Spec.RestartPolicy == corev1.RestartPolicyNever:
		return true
	}
	return object.Spec.RestartPolicy == corev1.RestartPolicyOnFailure && p.ended.ExitCode == 0
}

func (p *pod) start(ctx context.Context, object *corev1.Pod) error {
	image, err := p.node.image(object.Spec.Containers[0].Image)
	if err != nil {
		return err
	}
	if p.volumes == nil {
		p.volumes = &volumes{client: p.node.client, pod: object, dir: filepath.Join(p.dir, "volumes")}
	}
	if err := p.volumes.sync(ctx); err != nil {
		return err
	}
	s, err := sandboxOf(object, image.config, p.ip, p.volumes.folder)
	if err != nil {
		return err
	}
	s.Root, s.Scratch, s.Hosts = image.root, filepath.Join(p.dir, "root"), filepath.Join(p.dir, "hosts")
	hosts, err := p.node.proxy.hosts(ctx, object.Name, p.ip)
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(s.Scratch, 0o755), os.WriteFile(s.Hosts, []byte(hosts), 0o644)); err != nil {
		return err
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	spec := filepath.Join(p.dir, "sandbox.json")
	if err := os.WriteFile(spec, raw, 0o600); err != nil {
		return err
	}
	p.probes = probes{}
	p.process, err = startContainer(spec, p.node.LogFile(object.Namespace, object.Name), p.number, p.ip, p.wake)
	return err
}

// reap notes the end of the program.
func (p *pod) reap(object *corev1.Pod) {
	if p.process == nil {
		return
	}
	select {
	case <-p.process.done:
	default:
		return
	}
	code := p.process.code
	p.ended = &corev1.ContainerStateTerminated{ExitCode: int32(code), Reason: "Completed", FinishedAt: metav1.Now(), StartedAt: p.process.started}
	if code != 0 {
		p.ended.Reason = "Error"
	}
	p.process, p.again = nil, time.Now().Add(restartDelay)
	p.restarts++
	p.node.Log("pod %s: its program ended with code %d", object.Name, code)
}

// stop asks the program to end, and makes it after the grace. It tells whether it has.
func (p *pod) stop(object *corev1.Pod) bool {
	if p.process == nil {
		return true
	}
	grace := 30 * time.Second
	if object.DeletionGracePeriodSeconds != nil {
		grace = time.Duration(*object.DeletionGracePeriodSeconds) * time.Second
	}
	switch {
	case p.stopping.IsZero():
		p.stopping = time.Now()
		p.process.signal(syscall.SIGTERM)
	case time.Since(p.stopping) > grace:
		p.node.Log("pod %s: it did not end within its grace of %s, and is killed", object.Name, grace)
		p.kill()
		return true
	}
	return false
}

func (p *pod) kill() {
	if p.process != nil {
		p.process.signal(syscall.SIGKILL)
		<-p.process.done
	}
}

// remove lets go of the object, as a kubelet does when nothing runs any more.
func (p *pod) remove(ctx context.Context, object *corev1.Pod) error {
	err := p.node.client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &object.UID},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// container is one run of a program.
type container struct {
	pid     int
	started metav1.Time
	done    chan struct{}
	code    int // valid after done
}

// startContainer starts this program anew, which becomes the Pod's.
func startContainer(spec, logFile string, number int, ip string, ended func()) (*container, error) {
	if err := os.MkdirAll(filepath.Dir(logFile), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ready, wait, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{sandboxed + "=" + spec}
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL, Setsid: true,
	}
	c := &container{started: metav1.Now(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ties the parent-death signal to the thread that forked: it lives as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the code tells
		c.code = cmd.ProcessState.ExitCode()
		close(c.done)
		ended()
	}()
	if err := <-started; err != nil {
		wait.Close()
		return nil, err
	}
	c.pid = cmd.Process.Pid
	err = plug(c.pid, number, ip)
	wait.Close()
	if err != nil {
		c.signal(syscall.SIGKILL)
		<-c.done
		return nil, fmt.Errorf("connecting it to the network: %w", err)
	}
	return c, nil
}

// signal reaches the program; one that has ended, and is not waited for yet, does not mind.
func (c *container) signal(s syscall.Signal) {
	select {
	case <-c.done:
	default:
		_ = syscall.Kill(c.pid, s)
	}
}
