package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

const (
	smallFiles = 20_000
	bigFile    = 1 << 30
	// pairs are repositories of each sort, a multiple of the sorts; in each, what has not changed is backed up so often again.
	pairs, again = 9, 3
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
	const wallLimit, cpuLimit, moreLimit = 1.01, 1.02, 100 * time.Millisecond
	const apart, byAgent = "the same, by what is done before and after restic's own work", "the same, by the agent's own CPU"
	what := fmt.Sprintf("first backup of %d files and 1 GiB", smallFiles)
	wall, cpu := first.ours.times(what+", wall", first.plain, cost.theWall), first.ours.times(what+", CPU", first.plain, cost.theCPU)
	wall.judge(wallLimit)
	cpu.judge(cpuLimit)
	beside, own := first.ours.ofBeside(apart, first.plain), first.ours.ofAgent(byAgent)
	beside.judge(wallLimit)
	own.judge(cpuLimit)
	more := unchanged.ours.more("unchanged again, more wall than plain restic", unchanged.plain)
	more.bar, more.holds = "≤ 0.10 s more", new(quantile(unchanged.ours.over(unchanged.plain, cost.theWall), 50) <= moreLimit)
	return append([]row{
		wall.row, beside, cpu.row, own, more,
		first.peer.times("resticprofile: first backup, wall", first.plain, cost.theWall).row, first.peer.ofBeside("resticprofile: "+apart, first.plain),
		first.peer.times("resticprofile: first backup, CPU", first.plain, cost.theCPU).row,
		unchanged.peer.more("resticprofile: unchanged again, more wall", unchanged.plain),
	}, rest...), nil
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
	m, secret, err := w.machine(name, files)
	if err != nil {
		return err
	}
	defer func() { _ = m.Stop() }()
	ours, err := w.restic(secret, name)
	if err != nil {
		return err
	}
	plain, err := w.twin(secret, name+"-plain")
	if err != nil {
		return err
	}
	peer, profile, err := w.profile(secret, name+"-profile", files)
	if err != nil {
		return err
	}
	defer w.emptyRepositories()
	if err := w.rest(); err != nil {
		return err
	}
	for i := range 1 + again {
		c := unchanged
		if i == 0 {
			c = first
		}
		sorts := []struct {
			name       string
			runs       *runs
			run        func() (cost, error)
			repository *program
		}{
			{"restic", &c.plain, func() (cost, error) { return plain.run(w.ctx, "backup", "--json", files) }, plain},
			{"agent", &c.ours, func() (cost, error) { return w.backupBy(m, name) }, ours},
			{"resticprofile", &c.peer, func() (cost, error) { return profile.run(w.ctx, "backup") }, peer},
		}
		next := (turn + i) % len(sorts)
		for _, s := range slices.Concat(sorts[next:], sorts[:next]) {
			if err := sleep(w.ctx, time.Second); err != nil { // what is written about the one before
				return err
			}
			unix.Sync()
			took, err := s.run()
			if err == nil && i == 0 {
				took.restic, err = s.repository.ownTime(w.ctx)
			}
			if err != nil {
				return err
			}
			w.logf("%s: %s, CPU %s", s.name, span(took.wall), span(took.cpu))
			*s.runs = append(*s.runs, took)
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

// machine enrols a Host whose only group is the files, and waits until its repository is ready and was looked at. It also returns what opens the repository.
func (w *world) machine(name, files string) (*stack.Agent, map[string]string, error) {
	if err := w.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return nil, nil, err
	}
	host, secret, err := scenario.NewHost(w.Stack, name, name)
	if err != nil {
		return nil, nil, err
	}
	opens := maps.Clone(secret.StringData)
	group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "files"}, Spec: v1alpha1.SourceGroupSpec{
		Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: name}}, Includes: []string{files},
	}}
	for _, o := range []client.Object{secret, host, group} {
		if err := w.Create(w.ctx, o); err != nil {
			return nil, nil, err
		}
	}
	a, err := w.Enroll(w.ctx, stack.Machine{Namespace: name, Host: name})
	if err != nil {
		return nil, nil, err
	}
	if err := a.Start(w.ctx); err != nil {
		return nil, nil, err
	}
	return a, opens, w.poll(w.ctx, "repository of "+name, func() (string, error) {
		err := w.Get(w.ctx, client.ObjectKeyFromObject(host), host)
		if r := host.Status.Repository; err == nil && (r == nil || r.Stats == nil) {
			return fmt.Sprintf("%+v", host.Status.Conditions), nil
		}
		return "", err
	})
}

// backupBy runs a backup by a HostJob.
func (w *world) backupBy(m *stack.Agent, name string) (cost, error) {
	watcher, err := client.NewWithWatch(w.CP.RESTConfig(), client.Options{Scheme: w.Scheme()})
	if err != nil {
		return cost{}, err
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	stream, err := watcher.Watch(ctx, &v1alpha1.HostJobList{}, client.InNamespace(name))
	if err != nil {
		return cost{}, err
	}
	defer stream.Stop()
	agentBefore, childrenBefore, err := ofFamily(m.PID())
	if err != nil {
		return cost{}, err
	}
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: name, GenerateName: "backup-"}, Spec: v1alpha1.HostJobSpec{
		HostRef: v1alpha1.LocalReference{Name: name}, Kind: v1alpha1.HostJobBackup, Backup: &v1alpha1.BackupJob{SourceGroup: "files"},
	}}
	began := time.Now()
	if err := w.Create(ctx, job); err != nil {
		return cost{}, err
	}
	for event := range stream.ResultChan() {
		j, ok := event.Object.(*v1alpha1.HostJob)
		if !ok || j.Name != job.Name || !j.Status.Phase.Finished() {
			continue
		}
		wall := time.Since(began)
		if j.Status.Phase != v1alpha1.JobSucceeded {
			return cost{}, fmt.Errorf("the backup ended %s: %+v", j.Status.Phase, j.Status.Conditions)
		}
		agent, children, err := ofFamily(m.PID())
		agent, children = agent-agentBefore, children-childrenBefore
		return cost{wall: wall, cpu: agent + children, agent: agent}, err
	}
	return cost{}, errors.Join(ctx.Err(), errors.New("the watch ended before the backup"))
}

// agentAtRest measures an enrolled agent that has nothing to do.
func (w *world) agentAtRest() ([]row, error) {
	m, _, err := w.machine("at-rest", w.Dir)
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
