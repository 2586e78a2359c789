package webhook

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
)

// What a person reads, word for word: it is what the webhook is for.
func TestWhatKubectlSays(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		name, kind, object, spec string
		want                     string
	}{
		{"a minute that does not exist", "Schedule", "nightly", `{cron: "61 2 * * *", sourceGroups: [etc]}`,
			`The Schedule "nightly" is invalid: spec.cron: Invalid value: cron "61 2 * * *": minute "61" is not valid: in "61" the end of range (61) above maximum (59)`},
		{"a date that never comes", "Schedule", "nightly", `{cron: "0 0 31 2 *", sourceGroups: [etc]}`,
			`The Schedule "nightly" is invalid: spec.cron: Invalid value: cron "0 0 31 2 *" never fires: there is no such date`},
		{"a zone inside the expression, which makes the cron library panic", "Schedule", "nightly", `{cron: "TZ=UTC", sourceGroups: [etc]}`,
			`The Schedule "nightly" is invalid: spec.cron: Invalid value: cron "TZ=UTC" names a time zone: leave it out and set timeZone instead`},
		{"a time zone that is not known, and labels that do not parse", "Schedule", "nightly",
			`{cron: "@daily", timeZone: Europe/Zuerich, sourceGroups: [etc], hostSelector: {matchLabels: {"a b": c}}}`,
			`The Schedule "nightly" is invalid: 
* spec.timeZone: Invalid value: timeZone "Europe/Zuerich" is not known: write an IANA name such as Europe/Zurich, or UTC
* spec.hostSelector: Invalid value: the label selector is not valid: key: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', ` +
				`and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`},
		{"groups that do not exist are only a warning", "Schedule", "nightly", `{cron: "0 2 * * *", sourceGroups: [etc, home]}`,
			`Warning: spec.sourceGroups: there is no SourceGroup "etc" in this namespace: create it, or take it out of sourceGroups
Warning: spec.sourceGroups: there is no SourceGroup "home" in this namespace: create it, or take it out of sourceGroups
schedule.backup.restic-manager.io/nightly created`},
		{"an operator that selectors do not have", "SourceGroup", "etc", `{hostSelector: {matchExpressions: [{key: role, operator: Near}]}, includes: [/etc]}`,
			`The SourceGroup "etc" is invalid: spec.hostSelector: Invalid value: the label selector is not valid: "Near" is not a valid label selector operator`},
		{"windows in a zone that is not known", "SourceGroup", "etc", `{hostRef: {name: web-1}, includes: [/etc], bandwidth: {timeZone: Local}}`,
			`The SourceGroup "etc" is invalid: spec.bandwidth.timeZone: Invalid value: timeZone "Local" differs from machine to machine: write an IANA name such as Europe/Zurich, or UTC`},
		{"a Host that does not exist is only a warning", "SourceGroup", "etc", `{hostRef: {name: web-1}, includes: [/etc]}`,
			`Warning: spec.hostRef: there is no Host "web-1" in this namespace: create it, or name another one
sourcegroup.backup.restic-manager.io/etc created`},
		{"labels that no Host has", "SourceGroup", "home", `{hostSelector: {matchLabels: {role: wbe}}, includes: [/home]}`,
			`Warning: spec.hostSelector: no Host in this namespace has such labels: the SourceGroup is for no Host
sourcegroup.backup.restic-manager.io/home created`},
		{"a Host with several faults", "Host", "web-1", `{repository: {url: "ftp://backup.example.com/web-1"}, bandwidth: {timeZone: Mars}}`,
			`The Host "web-1" is invalid: 
* spec.repository.url: Invalid value: begins with no backend that restic knows: begin it with one of azure, b2, gs, local, rclone, rest, s3, sftp, swift, or give an absolute path
* spec.bandwidth.timeZone: Invalid value: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`},
		{"a Host in order", "Host", "web-1", `{repository: {url: "rest:https://backup.example.com/web-1"}}`, `host.backup.restic-manager.io/web-1 created`},
		{"a group for it is no news any more", "SourceGroup", "etc", `{hostRef: {name: web-1}, includes: [/etc, /opt]}`, `sourcegroup.backup.restic-manager.io/etc configured`},
		{"a group that shares no Host with the Schedule", "Schedule", "nightly", `{cron: "0 3 * * *", sourceGroups: [etc, home]}`,
			`Warning: spec.sourceGroups: SourceGroup "home" shares no Host with this Schedule: change its hostSelector or the one of the Schedule, or label a Host
schedule.backup.restic-manager.io/nightly configured`},
		{"a tag that another group has", "SourceGroup", "opt", `{hostRef: {name: web-1}, includes: [/opt], tag: etc, retention: {keepDaily: 7}}`,
			`Warning: spec.tag: the tag "etc" is also that of SourceGroup "etc" on Host "web-1", so their snapshots cannot be told apart and none of them is forgotten there: give each group a tag of its own
sourcegroup.backup.restic-manager.io/opt created`},
		{"maintenance with several faults", "RepoMaintenance", "web", `{hostRef: {name: web-1}, forget: {cron: "@reboot"}, check: {cron: "7"}}`,
			`The RepoMaintenance "web" is invalid: 
* spec.forget.cron: Invalid value: cron "@reboot" is not supported: a backup that was missed while the machine was off runs by itself when it is back
* spec.check.cron: Invalid value: cron "7" has 1 of five fields: minute, hour, day of month, month, day of week`},
		{"an executor that does not exist", "RepoMaintenance", "web", `{hostRef: {name: web-1}, executorRef: {name: vault}, forget: {cron: "@daily"}}`,
			`Warning: spec.executorRef: there is no Host "vault" in this namespace: create it, or name another one; until then nothing but verify is run
repomaintenance.backup.restic-manager.io/web created`},
		{"maintenance for nobody", "RepoMaintenance", "db", `{hostSelector: {matchLabels: {role: db}}, forget: {cron: "@daily"}}`,
			`Warning: spec.hostSelector: no Host in this namespace has such labels: the RepoMaintenance is for no Host
repomaintenance.backup.restic-manager.io/db created`},
		{"a job for a Host that does not exist", "HostJob", "now", `{hostRef: {name: web-2}, kind: Unlock}`,
			`Warning: spec.hostRef: there is no Host "web-2" in this namespace: create it, or name another one
hostjob.backup.restic-manager.io/now created`},
		{"a backup of a group that is for other Hosts", "HostJob", "home", `{hostRef: {name: web-1}, kind: Backup, backup: {sourceGroup: home}}`,
			`Warning: spec.backup.sourceGroup: SourceGroup "home" is not for Host "web-1": change its hostRef or hostSelector, or name another group
hostjob.backup.restic-manager.io/home created`},
		{"a job in order", "HostJob", "etc", `{hostRef: {name: web-1}, kind: Backup, backup: {sourceGroup: etc}}`, `hostjob.backup.restic-manager.io/etc created`},
	} {
		if diff := cmp.Diff(tt.want, f.apply(tt.kind, tt.object, tt.spec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestAnInvalidObjectFromBeforeCanStillBeHandled(t *testing.T) {
	f := newFixture(t)
	f.unchecked(func() {
		f.apply("Schedule", "nightly", `{cron: "61 2 * * *", sourceGroups: [etc]}`)
		f.apply("Host", "web-1", `{repository: {url: "rest:https://backup.example.com/web-1"}, bandwidth: {timeZone: Mars}}`)
	})
	const before = `Warning: spec.cron: cron "61 2 * * *": minute "61" is not valid: in "61" the end of range (61) above maximum (59) (as before this change, so it is not refused)` + "\n"
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"labelled without a word", []string{"label", "schedule", "nightly", "team=web"}, "schedule.backup.restic-manager.io/nightly labeled"},
		{"suspended with a warning", []string{"patch", "schedule", "nightly", "--type=merge", "-p", `{"spec":{"suspend":true}}`}, before + "schedule.backup.restic-manager.io/nightly patched"},
		{"not made worse", []string{"patch", "schedule", "nightly", "--type=merge", "-p", `{"spec":{"timeZone":"Mars"}}`},
			`The Schedule "nightly" is invalid: spec.timeZone: Invalid value: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`},
		{"a Host gets its keys, as at its enrolment", []string{"patch", "host", "web-1", "--type=merge", "-p",
			`{"spec":{"identity":{"signingKey":"` + someKey + `","sealingKey":"` + someKey + `"}}}`},
			`Warning: spec.bandwidth.timeZone: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC (as before this change, so it is not refused)` + "\n" +
				"host.backup.restic-manager.io/web-1 patched"},
		{"deleted", []string{"delete", "schedule", "nightly"}, fmt.Sprintf("schedule.backup.restic-manager.io %q deleted from %s namespace", "nightly", "shop")},
	} {
		if diff := cmp.Diff(tt.want, f.kubectl("", tt.args...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

const someKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

func TestAGroupThatSchedulesNameStays(t *testing.T) {
	f := newFixture(t)
	f.apply("Host", "web-1", `{repository: {url: "rest:https://backup.example.com/web-1"}}`)
	f.apply("SourceGroup", "etc", `{hostRef: {name: web-1}, includes: [/etc]}`)
	f.apply("SourceGroup", "home", `{hostRef: {name: web-1}, includes: [/home]}`)
	f.apply("Schedule", "nightly", `{cron: "@daily", sourceGroups: [etc, home]}`)
	f.apply("Schedule", "weekly", `{cron: "@weekly", sourceGroups: [etc]}`)

	const refusal = `Error from server (Forbidden): admission webhook "sourcegroups.backup.restic-manager.io" denied the request: SourceGroup "etc" is named by Schedules nightly, weekly: ` +
		`take it out of spec.sourceGroups there, or delete the Schedules first. To delete it all the same: kubectl -n shop annotate sourcegroup etc backup.restic-manager.io/allow-deletion=true`
	expect := func(want string, args ...string) {
		t.Helper()
		if diff := cmp.Diff(want, f.kubectl("", args...)); diff != "" {
			t.Errorf("kubectl %s (-want +got):\n%s", strings.Join(args, " "), diff)
		}
	}
	expect(refusal, "delete", "sourcegroup", "etc")
	expect(refusal, "delete", "sourcegroup", "etc", "--dry-run=server")
	if err := f.client.DeleteAllOf(t.Context(), &v1alpha1.SourceGroup{}, client.InNamespace(f.namespace)); !apierrors.IsForbidden(err) {
		t.Errorf("deleting the collection: %v", err)
	}
	if left := groupNames(t, f); !cmp.Equal(left, []string{"etc", "home"}) {
		t.Errorf("left are %v", left)
	}

	// In order it goes, however far the webhook's cache is behind.
	expect("schedule.backup.restic-manager.io/nightly patched", "patch", "schedule", "nightly", "--type=merge", "-p", `{"spec":{"sourceGroups":["home"]}}`)
	expect(`schedule.backup.restic-manager.io "weekly" deleted from shop namespace`, "delete", "schedule", "weekly")
	expect(`sourcegroup.backup.restic-manager.io "etc" deleted from shop namespace`, "delete", "sourcegroup", "etc")
	// So does everything at once.
	expect("schedule.backup.restic-manager.io \"nightly\" deleted from shop namespace\nsourcegroup.backup.restic-manager.io \"home\" deleted from shop namespace",
		"delete", "schedules,sourcegroups", "--all")

	f.apply("SourceGroup", "srv", `{hostRef: {name: web-1}, includes: [/srv]}`)
	f.apply("Schedule", "hourly", `{cron: "@hourly", sourceGroups: [srv]}`)
	expect("sourcegroup.backup.restic-manager.io/srv annotated", "annotate", "sourcegroup", "srv", v1alpha1.AnnotationAllowDeletion+"=true")
	expect("Warning: SourceGroup \"srv\" was named by Schedule hourly: what it backed up is backed up no more\n"+`sourcegroup.backup.restic-manager.io "srv" deleted from shop namespace`,
		"delete", "sourcegroup", "srv")
}

// What tools do that delete in an order of their own: they go on after a refusal, and a second try finds nothing that holds.
func TestAWrongOrderIsMendedByASecondTry(t *testing.T) {
	f := newFixture(t)
	const both = `
apiVersion: backup.restic-manager.io/v1alpha1
kind: SourceGroup
metadata: {name: etc}
spec: {hostSelector: {}, includes: [/etc]}
---
apiVersion: backup.restic-manager.io/v1alpha1
kind: Schedule
metadata: {name: nightly}
spec: {cron: "@daily", sourceGroups: [etc]}
`
	f.kubectl(both, "apply", "-f", "-")
	first := f.kubectl(both, "delete", "-f", "-")
	if !strings.Contains(first, `schedule.backup.restic-manager.io "nightly" deleted`) || !strings.Contains(first, `SourceGroup "etc" is named by Schedule nightly`) {
		t.Errorf("the first try: %s", first)
	}
	if second := f.kubectl(both, "delete", "--ignore-not-found", "-f", "-"); second != `sourcegroup.backup.restic-manager.io "etc" deleted from shop namespace` {
		t.Errorf("the second try: %s", second)
	}
}

// Who follows the quickstart reads no warning.
func TestTheSamplesRaiseNoWarning(t *testing.T) {
	f := newFixture(t)
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := f.cp.Kubectl(t.Context(), "kustomize", filepath.Join(root, "config", "samples"))
	if err != nil {
		t.Fatal(err)
	}
	if said := f.kubectl(strings.ReplaceAll(rendered, ": shop", ": "+f.namespace), "apply", "-f", "-"); strings.Contains(said, "spec.") || !strings.Contains(said, "schedule.backup.restic-manager.io/nightly created") {
		t.Errorf("kubectl says %s", said)
	}
}

func groupNames(t *testing.T, f *fixture) []string {
	t.Helper()
	list := &v1alpha1.SourceGroupList{}
	if err := f.client.List(t.Context(), list, client.InNamespace(f.namespace)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range list.Items {
		names = append(names, g.Name)
	}
	return names
}

func TestANamespaceGoesWithAllThatIsInIt(t *testing.T) {
	f := newFixture(t)
	var all []string
	for i := range 20 {
		group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: fmt.Sprintf("group-%d", i)}}
		group.Spec = v1alpha1.SourceGroupSpec{Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{}}, Includes: []string{"/etc"}}
		if err := f.client.Create(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		all = append(all, group.Name)
	}
	f.apply("Schedule", "nightly", `{cron: "@daily", sourceGroups: [`+strings.Join(all, ", ")+`]}`)
	if _, err := f.cp.Kubectl(t.Context(), "delete", "namespace", f.namespace, "--timeout=3m"); err != nil {
		t.Fatal(err)
	}
	if err := f.client.Get(t.Context(), types.NamespacedName{Name: f.namespace}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		t.Errorf("the namespace is still there: %v", err)
	}
}

func TestGarbageIsCollected(t *testing.T) {
	f := newFixture(t)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "release"}}
	if err := f.client.Create(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	group := &v1alpha1.SourceGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "etc", OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID}}},
		Spec:       v1alpha1.SourceGroupSpec{Selector: v1alpha1.Selector{HostRef: &v1alpha1.LocalReference{Name: "web-1"}}, Includes: []string{"/etc"}},
	}
	if err := f.client.Create(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	f.apply("Schedule", "nightly", `{cron: "@daily", sourceGroups: [etc]}`)
	if err := f.client.Delete(t.Context(), group.DeepCopy()); !apierrors.IsForbidden(err) {
		t.Fatalf("a person deletes it: %v", err)
	}
	if err := f.client.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, patience, "the garbage collector deletes the group", func(ctx context.Context) error {
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(group), group); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is still there: %w", err)
		}
		return nil
	})
}

func TestFinalizersHoldNothingUp(t *testing.T) {
	f := newFixture(t)
	f.apply("SourceGroup", "etc", `{hostSelector: {}, includes: [/etc]}`)
	f.apply("Schedule", "nightly", `{cron: "@daily", sourceGroups: [etc]}`)
	finalizers := func(kind, list string) {
		t.Helper()
		if _, err := f.cp.Kubectl(t.Context(), "-n", f.namespace, "patch", kind, "--type=merge", "-p", `{"metadata":{"finalizers":`+list+`}}`); err != nil {
			t.Fatal(err)
		}
	}
	finalizers("schedule/nightly", `["example.com/hold"]`)
	finalizers("sourcegroup/etc", `["example.com/hold"]`)
	for _, object := range []string{"schedule/nightly", "sourcegroup/etc"} {
		// The Schedule is still there, and going.
		if _, err := f.cp.Kubectl(t.Context(), "-n", f.namespace, "delete", object, "--wait=false"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.cp.Kubectl(t.Context(), "-n", f.namespace, "delete", "sourcegroup/etc", "--wait=false"); err != nil {
		t.Errorf("once more: %v", err)
	}
	finalizers("sourcegroup/etc", "null")
	finalizers("schedule/nightly", "null")
	if left := groupNames(t, f); left != nil {
		t.Errorf("left are %v", left)
	}
}

func TestEverythingWorksWithoutTheWebhook(t *testing.T) {
	f := newFixture(t)
	f.stop()
	began := time.Now()
	for _, step := range []struct{ said, want string }{
		{f.apply("Schedule", "nightly", `{cron: "61 2 * * *", sourceGroups: [etc]}`), "schedule.backup.restic-manager.io/nightly created"},
		{f.apply("SourceGroup", "etc", `{hostSelector: {}, includes: [/etc]}`), "sourcegroup.backup.restic-manager.io/etc created"},
		{f.apply("SourceGroup", "etc", `{hostSelector: {}, includes: [/etc, /opt]}`), "sourcegroup.backup.restic-manager.io/etc configured"},
		{f.kubectl("", "delete", "sourcegroup", "etc"), `sourcegroup.backup.restic-manager.io "etc" deleted from shop namespace`},
	} {
		if step.said != step.want {
			t.Errorf("kubectl says %q, want %q", step.said, step.want)
		}
	}
	t.Logf("four writes without the webhook took %s", time.Since(began))
	f.start()
	f.awaitAnswer(t)
	if said := f.apply("Schedule", "weekly", `{cron: "61 2 * * *", sourceGroups: [etc]}`); !strings.Contains(said, "is invalid") {
		t.Errorf("once the webhook is back, kubectl says %q", said)
	}
}

func TestOnlyWatchedNamespacesAreJudged(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.WatchNamespaces = []string{"default"} })
	// "default" is: newFixture waited for a refusal there.
	if said := f.apply("Schedule", "nightly", `{cron: "61 2 * * *", sourceGroups: [etc]}`); said != "schedule.backup.restic-manager.io/nightly created" {
		t.Errorf("kubectl says %q", said)
	}
	f.apply("SourceGroup", "etc", `{hostSelector: {}, includes: [/etc]}`)
	if said := f.kubectl("", "delete", "sourcegroup", "etc"); !strings.Contains(said, "deleted") {
		t.Errorf("kubectl says %q", said)
	}
}

// The conditions under which the API server asks at all have a budget; what goes over it would not be judged.
func TestTheLargestObjectsAreJudged(t *testing.T) {
	f := newFixture(t)
	path := "/" + strings.Repeat("x", 4095)
	group := &v1alpha1.SourceGroup{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, GenerateName: "large-"},
		Spec:       v1alpha1.SourceGroupSpec{Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{}}},
	}
	for i := range 200 {
		group.Spec.Includes = append(group.Spec.Includes, fmt.Sprintf("%s%03d", path[:4000], i))
		if i < 50 {
			group.Spec.Excludes = append(group.Spec.Excludes, path)
		}
	}
	if err := f.client.Create(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	group.Spec.Bandwidth = &v1alpha1.Bandwidth{TimeZone: "Mars"}
	if err := f.client.Update(t.Context(), group); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), group.Name) {
		t.Errorf("updating it: %.300v", err)
	}
	host := &v1alpha1.Host{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "large"},
		Spec:       v1alpha1.HostSpec{Repository: v1alpha1.Repository{URL: "/srv/" + strings.Repeat("x", 2000), CABundle: strings.Repeat("x", 65536)}},
	}
	if err := f.client.Create(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	host.Spec.Repository.URL = "nowhere"
	if err := f.client.Update(t.Context(), host); !apierrors.IsInvalid(err) {
		t.Errorf("updating a Host: %.300v", err)
	}
}

// As with cert-manager: files that somebody renews, and a caBundle that somebody writes.
func TestTheCertificateMayComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	ca, err := env.EnsureCA(filepath.Join(dir, "ca"), "webhook test")
	if err != nil {
		t.Fatal(err)
	}
	issue := func() {
		t.Helper()
		leaf, err := ca.Issue("webhook", env.LeafRequest{})
		if err != nil {
			t.Fatal(err)
		}
		// As a Secret volume changes: key and certificate appear by renaming.
		for from, to := range map[string]string{leaf.KeyFile: "tls.key", leaf.CertFile: "tls.crt"} {
			if err := os.Rename(from, filepath.Join(dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	issue()
	cp := install(t)
	f := &fixture{t: t, cp: cp, namespace: cp.NewNamespace(t, "files"), address: freeAddress(t), client: newClient(t, cp.RESTConfig())}
	f.deploy(t)
	authority, err := os.ReadFile(ca.CertFile)
	if err != nil {
		t.Fatal(err)
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	configuration.Name = ConfigurationName
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(configuration), configuration); err != nil {
		t.Fatal(err)
	}
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].ClientConfig.CABundle = authority
	}
	if err := f.client.Update(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	f.start(func(o *Options) { o.CertDir = dir })
	t.Cleanup(func() { f.stop() })
	f.awaitAnswer(t)

	serial := func(ctx context.Context) (string, error) {
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: ca.Pool()}}
		conn, err := dialer.DialContext(ctx, "tcp", f.address)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	first, err := serial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issue()
	env.Eventually(t, patience, "the new certificate is shown", func(ctx context.Context) error {
		if now, err := serial(ctx); err != nil || now == first {
			return fmt.Errorf("still %s, %w", now, err)
		}
		return nil
	})
	f.awaitAnswer(t)
	if err := f.client.Get(t.Context(), client.ObjectKeyFromObject(configuration), configuration); err != nil {
		t.Fatal(err)
	}
	for _, w := range configuration.Webhooks {
		if string(w.ClientConfig.CABundle) != string(authority) {
			t.Errorf("caBundle of %s was touched", w.Name)
		}
	}
}
