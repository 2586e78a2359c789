package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

const (
	smallFiles = 20_000
	bigFile    = 1 << 30
	// pairs are repositories of each sort, a multiple of the sorts; in each, what has not changed is backed up so often again.
	pairs, again = 15, 2
	// restWindow is how long the agent is watched at rest, which does something every half minute.
	restWindow = 4 * time.Minute
)

// agent measures what a backup costs more through the agent than by plain restic on the same files and the same server: the first one, into a fresh
// repository, and one of unchanged files. It is timed from the creation of the HostJob until its status says that it is over, so dispatch and reports are in it.
// And what the agent costs at rest.
func agent(w *world) ([]row, error) {
	files := filepath.Join(w.Dir, "files")
	if err := writeFiles(files); err != nil {
		return nil, err
	}
	defer os.RemoveAll(files)
	back, err := w.repositoriesToMemory()
	if err != nil {
		return nil, err
	}
	defer back()
	var first, unchanged comparison
	for i := range pairs {
		w.logf("pair %d of %d", i+1, pairs)
		if err := w.pair(i, files, &first, &unchanged); err != nil {
			return nil, err
		}
	}
	rest, err := w.agentAtRest()
	if err != nil {
		return nil, err
	}
	more := unchanged.ours.againstPlain("unchanged again, more wall than plain restic", unchanged.plain)
	const limit = 100 * time.Millisecond
	more.bar, more.holds = "≤ 0.10 s more", new(quantile(unchanged.ours.more(unchanged.plain), 50) <= limit)
	wall, cpu := first.ours.timesPlain(fmt.Sprintf("first backup of %d files and 1 GiB", smallFiles), first.plain)
	wall.judge(1.01)
	cpu.judge(1.02)
	peerWall, peerCPU := first.peer.timesPlain("resticprofile: first backup", first.plain)
	return append([]row{
		wall, cpu, more, peerWall, peerCPU, unchanged.peer.againstPlain("resticprofile: unchanged again, more wall", unchanged.plain),
	}, rest...), nil
}

// comparison holds the runs of each sort, in the same order.
type comparison struct{ plain, ours, peer runs }

// runs are what backups of one sort took.
type runs struct{ walls, cpus []time.Duration }

func (r *runs) keep(wall, used time.Duration, err error) error {
	if err == nil {
		r.walls, r.cpus = append(r.walls, wall), append(r.cpus, used)
	}
	return err
}

func (r *runs) wall() time.Duration { return quantile(r.walls, 50) }
func (r *runs) cpu() time.Duration  { return quantile(r.cpus, 50) }

// more is what each took more than the other one of its pair.
func (r *runs) more(than runs) []time.Duration {
	var each []time.Duration
	for i := range r.walls {
		each = append(each, r.walls[i]-than.walls[i])
	}
	return each
}

// againstPlain is for what is short, where a ratio says little.
func (r *runs) againstPlain(what string, plain runs) row {
	more := r.more(plain)
	return row{what: what, ours: span(quantile(more, 50)).String(), baseline: span(plain.wall()).String(),
		note: fmt.Sprintf("a quarter of %d pairs %s at most, three quarters %s; CPU %s against %s", len(more), span(quantile(more, 25)), span(quantile(more, 75)), span(r.cpu()), span(plain.cpu()))}
}

// timesPlain compares pair by pair, since a machine may change its pace from one pair to the next.
func (r *runs) timesPlain(what string, plain runs) (wall, used row) {
	compare := func(kind string, ours, base []time.Duration) row {
		each := ratios(ours, base)
		return row{what: what + ", " + kind, ours: span(quantile(ours, 50)).String(), baseline: span(quantile(base, 50)).String(), ratio: quantile(each, 50),
			note: fmt.Sprintf("of %d pairs: middle %.3f×, a quarter %.3f× at most, three quarters %.3f×", len(each), quantile(each, 50), quantile(each, 25), quantile(each, 75))}
	}
	return compare("wall", r.walls, plain.walls), compare("CPU", r.cpus, plain.cpus)
}

// writeFiles makes content that does not shrink, in folders of a hundred files.
func writeFiles(dir string) error {
	for i := range smallFiles {
		folder := filepath.Join(dir, strconv.Itoa(i/100))
		if i%100 == 0 {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(folder, strconv.Itoa(i)), []byte(rand.Text()+strings.Repeat(strconv.Itoa(i), 100)), 0o644); err != nil {
			return err
		}
	}
	big, err := os.Create(filepath.Join(dir, "big"))
	if err != nil {
		return err
	}
	_, err = io.CopyN(big, rand.Reader, bigFile)
	return errors.Join(err, big.Close())
}

// pair backs the files up each way, once and then unchanged, and each into a repository of its own: by plain restic, by the agent, and by resticprofile. Each begins with a
// disk that has nothing left to write, and which one comes first changes in turn, since that is worth some per cent.
func (w *world) pair(turn int, files string, first, unchanged *comparison) error {
	name := fmt.Sprintf("pair-%d", turn)
	m, err := w.machine(name, files)
	if err != nil {
		return err
	}
	defer func() { _ = m.Stop() }()
	plain, err := w.plainRestic(name + "-plain")
	if err != nil {
		return err
	}
	peer, err := w.profile(name+"-profile", files)
	if err != nil {
		return err
	}
	defer w.emptyRepositories()
	for i := range 1 + again {
		c := unchanged
		if i == 0 {
			c = first
		}
		runs := []func() error{
			func() error { return c.plain.keep(plain.run(w.ctx, "backup", "--json", files)) },
			func() error { return c.ours.keep(w.backupBy(m, name)) },
			func() error { return c.peer.keep(peer.run(w.ctx, "backup")) },
		}
		next := (turn + i) % len(runs)
		for _, run := range slices.Concat(runs[next:], runs[:next]) {
			unix.Sync()
			if err := run(); err != nil {
				return err
			}
		}
	}
	return nil
}

// sharedMemory is a file system in memory, on every Linux.
const sharedMemory = "/dev/shm"

// repositoriesToMemory has the rest-server, which has none yet, keep its repositories in memory where there is room: first backups to a disk differ by five
// per cent among themselves, and what is to be seen is one.
func (w *world) repositoriesToMemory() (back func(), err error) {
	var room unix.Statfs_t
	if err := unix.Statfs(sharedMemory, &room); err != nil || int64(room.Bavail)*room.Bsize < 4*bigFile {
		w.logf("%s has no room for three repositories of 1 GiB: they lie on the disk, whose pace is in the figures", sharedMemory)
		return func() {}, nil
	}
	dir, err := os.MkdirTemp(sharedMemory, "restic-manager-bench-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(w.Rest.Data), os.Symlink(dir, w.Rest.Data)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return func() { _ = os.RemoveAll(dir) }, nil
}

func (w *world) emptyRepositories() {
	entries, err := os.ReadDir(w.Rest.Data)
	if err != nil {
		return
	}
	for _, e := range entries {
		_ = os.RemoveAll(filepath.Join(w.Rest.Data, e.Name()))
	}
}

// machine enrols a Host whose only group is the files, and waits for its repository.
func (w *world) machine(name, files string) (*stack.Agent, error) {
	if err := w.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return nil, err
	}
	host, secret, err := scenario.NewHost(w.Stack, name, name)
	if err != nil {
		return nil, err
	}
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "files"}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: name}}, Includes: []string{files},
	}}
	for _, o := range []client.Object{secret, host, group} {
		if err := w.Create(w.ctx, o); err != nil {
			return nil, err
		}
	}
	a, err := w.Enroll(w.ctx, stack.Machine{Namespace: name, Host: name})
	if err != nil {
		return nil, err
	}
	if err := a.Start(w.ctx); err != nil {
		return nil, err
	}
	return a, w.poll(w.ctx, "repository of "+name, func() (string, error) {
		err := w.Get(w.ctx, client.ObjectKeyFromObject(host), host)
		if err == nil && !meta.IsStatusConditionTrue(host.Status.Conditions, v1alpha1.ConditionRepositoryReady) {
			return fmt.Sprintf("%+v", host.Status.Conditions), nil
		}
		return "", err
	})
}

// backupBy runs a backup by a HostJob, and returns how long it took and the CPU of the agent and its children.
func (w *world) backupBy(m *stack.Agent, name string) (wall, used time.Duration, err error) {
	watcher, err := client.NewWithWatch(w.CP.RESTConfig(), client.Options{Scheme: w.Scheme()})
	if err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	stream, err := watcher.Watch(ctx, &v1alpha1.HostJobList{}, client.InNamespace(name))
	if err != nil {
		return 0, 0, err
	}
	defer stream.Stop()
	before, err := withChildren(m.PID())
	if err != nil {
		return 0, 0, err
	}
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: name, GenerateName: "backup-"}, Spec: v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: name}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "files"},
	}}
	began := time.Now()
	if err := w.Create(ctx, job); err != nil {
		return 0, 0, err
	}
	for event := range stream.ResultChan() {
		j, ok := event.Object.(*v1alpha1.HostJob)
		if !ok || j.Name != job.Name || !j.Status.Phase.Finished() {
			continue
		}
		wall = time.Since(began)
		if j.Status.Phase != v1alpha1.JobSucceeded {
			return 0, 0, fmt.Errorf("the backup ended %s: %+v", j.Status.Phase, j.Status.Conditions)
		}
		after, err := withChildren(m.PID())
		return wall, after - before, err
	}
	return 0, 0, errors.Join(ctx.Err(), errors.New("the watch ended before the backup"))
}

// program is run on a repository of its own.
type program struct {
	path    string
	options []string // before the others
	env     []string
}

// plainRestic is a fresh repository for restic itself.
func (w *world) plainRestic(user string) (*program, error) {
	password, err := scenario.NewPassword()
	if err != nil {
		return nil, err
	}
	if err := w.Rest.SetUser(user, password); err != nil {
		return nil, err
	}
	p := &program{options: []string{"--cacert", w.CA.CertFile, "--cache-dir", w.cacheOf(user)}}
	if p.path, err = env.Binary("", env.Restic); err != nil {
		return nil, err
	}
	p.env = []string{
		"PATH=/usr/bin:/bin", "RESTIC_REPOSITORY=" + w.Rest.RepositoryURL(user), "RESTIC_PASSWORD=" + password,
		"RESTIC_REST_USERNAME=" + user, "RESTIC_REST_PASSWORD=" + password, "RESTIC_PROGRESS_FPS=1", "TMPDIR=" + w.Dir,
	}
	_, _, err = p.run(w.ctx, "init")
	return p, err
}

func (w *world) cacheOf(user string) string { return filepath.Join(w.Dir, "cache", user) }

// profile is a fresh repository for resticprofile, whose one profile is to back the files up as plain restic does.
func (w *world) profile(user, files string) (*program, error) {
	p, err := w.plainRestic(user)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(w.Dir, user+".yaml")
	config := fmt.Sprintf("version: \"1\"\nglobal:\n  restic-binary: %q\ndefault:\n  cacert: %q\n  cache-dir: %q\n  backup:\n    json: true\n    source: [%q]\n",
		p.path, w.CA.CertFile, w.cacheOf(user), files)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p.options = []string{"--no-ansi", "-c", file}
	p.path, err = env.Binary("", env.Resticprofile)
	return p, err
}

// run returns how long the program took, and its CPU with that of its children.
func (p *program) run(ctx context.Context, args ...string) (wall, used time.Duration, err error) {
	cmd := exec.CommandContext(ctx, p.path, slices.Concat(p.options, args)...)
	cmd.Env = p.env
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, fmt.Errorf("%s %s: %w: %s", filepath.Base(p.path), args[0], err, said.String())
	}
	return time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// agentAtRest measures an enrolled agent that has nothing to do.
func (w *world) agentAtRest() ([]row, error) {
	m, err := w.machine("at-rest", w.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Stop() }()
	// It looks once a minute whether it has more than it needs.
	if err := sleep(w.ctx, time.Minute+heartbeat); err != nil {
		return nil, err
	}
	used, err := watched(w.ctx, []int{m.PID()}, restWindow)
	if err != nil {
		return nil, err
	}
	memory, err := resident(m.PID())
	if err != nil {
		return nil, err
	}
	private, err := own(m.PID())
	if err != nil {
		return nil, err
	}
	program, err := os.Stat(m.Path)
	if err != nil {
		return nil, err
	}
	hour := time.Duration(float64(used) * float64(time.Hour) / float64(restWindow))
	const memoryLimit, programLimit = 12 << 20, 15<<20 - 1
	atRest := below("agent at rest, memory", memory.String(), memory, memoryLimit, "≤ 12 MiB")
	atRest.note = fmt.Sprintf("%s without the pages of the program's file", private)
	return []row{
		atRest,
		below("agent at rest, CPU per hour", span(hour).String(), hour, time.Second, "≤ 1 s"),
		below("agent, size of the program", size(program.Size()).String(), size(program.Size()), programLimit, "< 15 MiB"),
	}, nil
}
