package scenario

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
	"github.com/restic-manager/restic-manager/test/tree"
)

// Names of the third act.
const (
	FleetNamespace = "edge"
	FleetGroup     = "etc-and-data"
	FleetSchedule  = "all"
)

// ControllerArgs let a backup of every minute be overdue after a quarter of it, which nobody would want outside of a demonstration.
func ControllerArgs() []string { return []string{"--overdue-min-grace=1s"} }

var fleetHosts = []string{"edge-1", "edge-2", "edge-3"}

// fleetObjects are one SourceGroup and one Schedule for all machines with a label.
var fleetObjects = template.Must(template.New("").Parse(`apiVersion: v1
kind: Namespace
metadata: {name: {{.Namespace}}}
---
apiVersion: backup.restic-manager.io/v1alpha1
kind: SourceGroup
metadata: {name: {{.Group}}, namespace: {{.Namespace}}}
spec:
  hostSelector: {matchLabels: {role: edge}}
  includes: ["{{.Source}}"]
  retention: {keepDaily: 7}
---
apiVersion: backup.restic-manager.io/v1alpha1
kind: Schedule
metadata: {name: {{.Schedule}}, namespace: {{.Namespace}}}
spec:
  cron: "* * * * *"
  jitter: 20s
  sourceGroups: [{{.Group}}]
{{- range .Hosts}}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{.Name}}-repo
  namespace: {{$.Namespace}}
  labels: {backup.restic-manager.io/credentials: "true"}
stringData: {RESTIC_PASSWORD: "{{.Password}}", RESTIC_REST_USERNAME: {{.Name}}, RESTIC_REST_PASSWORD: "{{.RestPassword}}"}
---
apiVersion: backup.restic-manager.io/v1alpha1
kind: Host
metadata: {name: {{.Name}}, namespace: {{$.Namespace}}, labels: {role: edge}}
spec:
  repository:
    url: {{.URL}}
    credentialsSecretRef: {name: {{.Name}}-repo}
    caBundle: {{printf "%q" $.CA}}
{{- end}}
`))

// fleet is the third act: one object for many machines, and trouble that nobody overlooks.
func (r *Run) fleet() []step {
	return []step{
		{"three machines, one SourceGroup and one Schedule for all", r.applyFleet},
		{"enrol all three", r.enrolFleet},
		{"the jitter spreads them: each Host tells its next run", r.spread},
		{"a backup of each by the one Schedule; the summaries say so", r.fleetBackedUp},
		{"a machine loses its label and leaves the fleet, and comes back with it", r.relabel},
		{"a machine goes silent: its backup is overdue, with one Event", r.fallOverdue},
		{"it comes back, makes up for it, and recovers", r.recover},
	}
}

func (r *Run) fleetSource() string {
	return filepath.Join(r.Stack.Dir, "machines", FleetNamespace, "data")
}

func (r *Run) applyFleet(ctx context.Context) (string, error) {
	if _, err := tree.Make(r.fleetSource(), 60, 7); err != nil {
		return "", err
	}
	ca, err := os.ReadFile(r.Stack.CA.CertFile)
	if err != nil {
		return "", err
	}
	type machine struct{ Name, URL, Password, RestPassword string }
	var hosts []machine
	for _, name := range fleetHosts {
		m := machine{Name: name, URL: r.Stack.AppendOnly.RepositoryURL(name)}
		for _, p := range []*string{&m.Password, &m.RestPassword} {
			if *p, err = NewPassword(); err != nil {
				return "", err
			}
		}
		if err := r.Stack.AppendOnly.SetUser(name, m.RestPassword); err != nil {
			return "", err
		}
		r.Passwords[name+" repository password"], r.Passwords[name+" rest-server password"] = m.Password, m.RestPassword
		hosts = append(hosts, m)
	}
	var text bytes.Buffer
	if err := fleetObjects.Execute(&text, map[string]any{
		"Namespace": FleetNamespace, "Group": FleetGroup, "Schedule": FleetSchedule, "Source": r.fleetSource(), "CA": string(ca), "Hosts": hosts,
	}); err != nil {
		return "", err
	}
	out, err := r.Stack.CP.KubectlInput(ctx, r.Stack.CP.AdminKubeconfig, text.String(), "apply", "-f", "-")
	if err != nil {
		return "", err
	}
	r.Print("%s", indent(out))
	return "hostSelector role=edge, every minute, jitter 20s", nil
}

func (r *Run) enrolFleet(ctx context.Context) (string, error) {
	for _, name := range fleetHosts {
		agent, err := r.Stack.Enroll(ctx, stack.Machine{Namespace: FleetNamespace, Host: name})
		if err != nil {
			return "", err
		}
		if err := agent.Start(ctx); err != nil {
			return "", err
		}
		r.Fleet = append(r.Fleet, agent)
	}
	return "all three apply the set", r.fleetSchedule(ctx, 60*time.Second, "the Schedule in force on three Hosts", func(s *v1alpha1.Schedule) bool {
		return s.Status.HostsMatched == 3 && s.Status.HostsApplied == 3
	})
}

func (r *Run) spread(ctx context.Context) (string, error) {
	delays := map[time.Duration]bool{}
	for _, name := range fleetHosts {
		host, err := r.fleetHost(ctx, name)
		if err != nil {
			return "", err
		}
		if len(host.Status.Schedules) != 1 || host.Status.NextRunTime == nil || host.Status.Schedules[0].Delay == nil {
			return "", fmt.Errorf("%s: schedules are %+v, next run %v", name, host.Status.Schedules, host.Status.NextRunTime)
		}
		delays[host.Status.Schedules[0].Delay.Duration] = true
	}
	if len(delays) != 3 {
		return "", fmt.Errorf("the delays are %v, want three", delays)
	}
	return "three different delays within 20 s", r.show(ctx, "get", "hosts", "-o", "custom-columns=HOST:.metadata.name,DELAY:.status.schedules[0].delay,NEXT:.status.nextRunTime")
}

func (r *Run) fleetBackedUp(ctx context.Context) (string, error) {
	err := r.fleetGroup(ctx, 120*time.Second, "three Hosts backed up", func(g *v1alpha1.SourceGroup) bool {
		return g.Status.HostsSucceeded == 3 && g.Status.OldestSuccessTime != nil && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionBackupsCurrent)
	})
	if err != nil {
		return "", err
	}
	if err := r.fleetSchedule(ctx, time.Minute, "the Schedule's summary", func(s *v1alpha1.Schedule) bool { return s.Status.HostsSucceeded == 3 }); err != nil {
		return "", err
	}
	return "3 of 3 succeeded, none overdue", r.show(ctx, "get", "schedules,sourcegroups,hosts")
}

func (r *Run) relabel(ctx context.Context) (string, error) {
	for _, to := range []struct {
		label string
		hosts int32
	}{{"role-", 2}, {"role=edge", 3}} {
		if _, err := r.Stack.CP.Kubectl(ctx, "label", "host", fleetHosts[2], "-n", FleetNamespace, to.label); err != nil {
			return "", err
		}
		if err := r.fleetSchedule(ctx, time.Minute, fmt.Sprintf("the Schedule in force on %d Hosts", to.hosts), func(s *v1alpha1.Schedule) bool {
			return s.Status.HostsMatched == to.hosts && s.Status.HostsApplied == to.hosts
		}); err != nil {
			return "", err
		}
		r.Print("   kubectl label host %s %s: %d Hosts", fleetHosts[2], to.label, to.hosts)
	}
	return "2 Hosts without it, 3 with it", nil
}

func (r *Run) fallOverdue(ctx context.Context) (string, error) {
	if err := r.Fleet[1].Stop(); err != nil {
		return "", err
	}
	r.Print("   the agent of %s is stopped; waiting for the next run and its grace", fleetHosts[1])
	if err := r.fleetGroup(ctx, 4*time.Minute, "one Host overdue", func(g *v1alpha1.SourceGroup) bool {
		return strings.Join(g.Status.OverdueHosts, "") == fleetHosts[1] && meta.IsStatusConditionFalse(g.Status.Conditions, v1alpha1.ConditionBackupsCurrent)
	}); err != nil {
		return "", err
	}
	host, err := r.fleetHost(ctx, fleetHosts[1])
	if err != nil {
		return "", err
	}
	c := meta.FindStatusCondition(host.Status.Conditions, v1alpha1.ConditionBackupsCurrent)
	if c == nil || c.Status != metav1.ConditionFalse {
		return "", fmt.Errorf("BackupsCurrent is %+v", c)
	}
	if err := r.lastTold(ctx, v1alpha1.EventBackupsOverdue); err != nil {
		return "", err
	}
	return c.Message, r.show(ctx, "get", "schedules,sourcegroups,hosts")
}

func (r *Run) recover(ctx context.Context) (string, error) {
	if err := r.Fleet[1].Start(ctx); err != nil {
		return "", err
	}
	if err := r.fleetGroup(ctx, 2*time.Minute, "no Host overdue", func(g *v1alpha1.SourceGroup) bool {
		return g.Status.HostsOverdue == 0 && meta.IsStatusConditionTrue(g.Status.Conditions, v1alpha1.ConditionBackupsCurrent)
	}); err != nil {
		return "", err
	}
	return "BackupsCurrent is True again", r.lastTold(ctx, v1alpha1.EventBackupsRecovered)
}

// lastTold waits until the newest Event about the backups of the second machine has a reason.
func (r *Run) lastTold(ctx context.Context, reason string) error {
	return env.Poll(ctx, time.Minute, "Event "+reason, func(ctx context.Context) error {
		turns, err := stack.Turns(ctx, r.client, FleetNamespace)
		if err != nil {
			return err
		}
		if told := turns[fleetHosts[1]]; len(told) == 0 || told[len(told)-1] != reason {
			return fmt.Errorf("the Events are %q", told)
		}
		return nil
	})
}

func (r *Run) fleetHost(ctx context.Context, name string) (*v1alpha1.Host, error) {
	host := &v1alpha1.Host{}
	return host, r.client.Get(ctx, client.ObjectKey{Namespace: FleetNamespace, Name: name}, host)
}

func (r *Run) fleetSchedule(ctx context.Context, timeout time.Duration, what string, ok func(*v1alpha1.Schedule) bool) error {
	s := &v1alpha1.Schedule{}
	return env.Poll(ctx, timeout, what, func(ctx context.Context) error {
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: FleetNamespace, Name: FleetSchedule}, s); err != nil {
			return err
		}
		if !ok(s) {
			return fmt.Errorf("%+v, conditions %v", s.Status.FleetSummary, describe(s.Status.Conditions))
		}
		return nil
	})
}

func (r *Run) fleetGroup(ctx context.Context, timeout time.Duration, what string, ok func(*v1alpha1.SourceGroup) bool) error {
	g := &v1alpha1.SourceGroup{}
	return env.Poll(ctx, timeout, what, func(ctx context.Context) error {
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: FleetNamespace, Name: FleetGroup}, g); err != nil {
			return err
		}
		if !ok(g) {
			return fmt.Errorf("%+v, conditions %v", g.Status.FleetSummary, describe(g.Status.Conditions))
		}
		return nil
	})
}

// show prints what kubectl does, in the namespace of the fleet.
func (r *Run) show(ctx context.Context, args ...string) error {
	out, err := r.Stack.CP.Kubectl(ctx, append(args, "-n", FleetNamespace)...)
	if err != nil {
		return err
	}
	r.Print("   $ kubectl %s -n %s\n%s", strings.Join(args, " "), FleetNamespace, indent(out))
	return nil
}
