package maintenance

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC) // a Monday

// testHost was made 30 days before noon, has a backup, and is connected since two hours.
func testHost(name string, edits ...func(*v1alpha1.Host)) *v1alpha1.Host {
	host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(noon.AddDate(0, 0, -30)), Labels: map[string]string{"role": "web"}}}
	host.Spec.Repository.URL = "rest:https://backup.example.com/" + name
	host.Status.LastSuccessTime = new(metav1.NewTime(noon.AddDate(0, 0, -1)))
	host.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSessionEstablished, LastTransitionTime: metav1.NewTime(noon.Add(-2 * time.Hour)),
	}}
	for _, edit := range edits {
		edit(host)
	}
	return host
}

func sharedURL(host *v1alpha1.Host) {
	host.Spec.Repository.URL = "rest:https://backup.example.com/shared"
}

func madeAt(at time.Time) func(*v1alpha1.Host) {
	return func(host *v1alpha1.Host) { host.CreationTimestamp = metav1.NewTime(at) }
}

// forHost is a RepoMaintenance by name, made 20 days before noon.
func forHost(name, host string, edits ...func(*v1alpha1.RepoMaintenance)) v1alpha1.RepoMaintenance {
	m := v1alpha1.RepoMaintenance{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(noon.AddDate(0, 0, -20))}}
	m.Spec.HostRef = &v1alpha1.LocalReference{Name: host}
	m.Spec.Forget = &v1alpha1.Cadence{Cron: "@daily"}
	for _, edit := range edits {
		edit(&m)
	}
	return m
}

func forRole(role string) func(*v1alpha1.RepoMaintenance) {
	return func(m *v1alpha1.RepoMaintenance) {
		m.Spec.HostRef, m.Spec.HostSelector = nil, &metav1.LabelSelector{MatchLabels: map[string]string{"role": role}}
	}
}

func byDefault(m *v1alpha1.RepoMaintenance) {
	m.Labels = map[string]string{v1alpha1.LabelDefault: "true"}
	m.CreationTimestamp = metav1.NewTime(noon.AddDate(0, 0, -29))
}

func invalid(m *v1alpha1.RepoMaintenance) { m.Spec.Forget.Cron = "daily" }

func older(m *v1alpha1.RepoMaintenance) {
	m.CreationTimestamp = metav1.NewTime(noon.AddDate(0, 0, -25))
}

func deleted(m *v1alpha1.RepoMaintenance) { m.DeletionTimestamp = new(metav1.NewTime(noon)) }

func suspended(m *v1alpha1.RepoMaintenance) { m.Spec.Suspend = true }

func nameOf(m *v1alpha1.RepoMaintenance) string {
	if m == nil {
		return ""
	}
	return m.Name
}

func TestInForce(t *testing.T) {
	for _, test := range []struct {
		name string
		all  []v1alpha1.RepoMaintenance
		want string
	}{
		{"none counts when none selects the host", []v1alpha1.RepoMaintenance{forHost("a", "web-2"), forHost("b", "", forRole("db"))}, ""},
		{"the one that names it counts", []v1alpha1.RepoMaintenance{forHost("a", "web-1")}, "a"},
		{"the one that selects it by label counts", []v1alpha1.RepoMaintenance{forHost("a", "", forRole("web"))}, "a"},
		{"of two the older counts", []v1alpha1.RepoMaintenance{forHost("a", "web-1"), forHost("b", "", forRole("web"), older)}, "b"},
		{"of two of the same age the first by name counts", []v1alpha1.RepoMaintenance{forHost("b", "web-1"), forHost("a", "", forRole("web"))}, "a"},
		{"one that people made counts before an older default", []v1alpha1.RepoMaintenance{forHost("d", "web-1", byDefault), forHost("a", "web-1")}, "a"},
		{"a default counts when people made none", []v1alpha1.RepoMaintenance{forHost("d", "web-1", byDefault)}, "d"},
		{"an invalid one does not count", []v1alpha1.RepoMaintenance{forHost("a", "web-1", older, invalid), forHost("b", "web-1")}, "b"},
		{"an invalid one keeps the default from acting, which might forget what people mean to keep", []v1alpha1.RepoMaintenance{forHost("d", "web-1", byDefault), forHost("a", "web-1", invalid)}, ""},
		{"one that is being deleted does not count", []v1alpha1.RepoMaintenance{forHost("a", "web-1", deleted), forHost("d", "web-1", byDefault)}, "d"},
		{"one that names an executor counts before an older one that names none: people with fewer rights may make those",
			[]v1alpha1.RepoMaintenance{forHost("a", "web-1", executedBy("vault")), forHost("b", "web-1", older)}, "a"},
		{"of two that name executors the older counts", []v1alpha1.RepoMaintenance{forHost("a", "web-1", executedBy("vault")), forHost("b", "web-1", executedBy("safe"), older)}, "b"},
		{"a default in which people named an executor is theirs", []v1alpha1.RepoMaintenance{forHost("d", "web-1", byDefault, executedBy("vault")), forHost("a", "web-1", older)}, "d"},
		{"a suspended one counts", []v1alpha1.RepoMaintenance{forHost("a", "web-1", older, suspended), forHost("b", "web-1")}, "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := nameOf(InForce(testHost("web-1"), test.all)); got != test.want {
				t.Errorf("%q is in force, expected %q", got, test.want)
			}
			slices.Reverse(test.all)
			if got := nameOf(InForce(testHost("web-1"), test.all)); got != test.want {
				t.Errorf("%q is in force when they are listed the other way round, expected %q", got, test.want)
			}
		})
	}
}

func TestInForceForRepository(t *testing.T) {
	oldest := testHost("web-2", sharedURL, madeAt(noon.AddDate(0, 0, -40)))
	younger := testHost("web-1", sharedURL)
	for _, test := range []struct {
		name          string
		all           []v1alpha1.RepoMaintenance
		through, want string
	}{
		{"the one of the oldest host counts", []v1alpha1.RepoMaintenance{forHost("a", "web-1"), forHost("b", "web-2")}, "web-2", "b"},
		{"one that people made for a younger host counts before the oldest host's default", []v1alpha1.RepoMaintenance{forHost("a", "web-1"), forHost("b", "web-2", byDefault)}, "web-1", "a"},
		{"one that names an executor for a younger host counts before one of the oldest host that names none",
			[]v1alpha1.RepoMaintenance{forHost("a", "web-1", executedBy("vault")), forHost("b", "web-2")}, "web-1", "a"},
		{"without one of people's the oldest host's default counts", []v1alpha1.RepoMaintenance{forHost("a", "web-1", byDefault), forHost("b", "web-2", byDefault)}, "web-2", "b"},
		{"none counts when none is for any of them", nil, "web-2", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			through, m := InForceForRepository([]*v1alpha1.Host{younger, oldest}, test.all)
			if nameOf(m) != test.want || through.Name != test.through {
				t.Errorf("%q through %s, expected %q through %s", nameOf(m), through.Name, test.want, test.through)
			}
		})
	}
	if through, m := InForceForRepository(nil, nil); through != nil || m != nil {
		t.Errorf("no hosts give %v and %v", through, m)
	}
}

func TestSharing(t *testing.T) {
	hosts := []v1alpha1.Host{
		*testHost("web-1", sharedURL),
		*testHost("web-2", sharedURL, madeAt(noon.AddDate(0, 0, -40)), func(h *v1alpha1.Host) { h.Spec.Repository.URL += "//" }),
		*testHost("web-3"),
		*testHost("web-4", sharedURL, func(h *v1alpha1.Host) { h.Namespace = "other" }),
		*testHost("web-5", sharedURL, func(h *v1alpha1.Host) { h.DeletionTimestamp = new(metav1.NewTime(noon)) }),
	}
	var names []string
	sharing := Sharing(&hosts[0], hosts)
	for _, h := range sharing {
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"web-2", "web-1"}, names); diff != "" {
		t.Errorf("the oldest first, those of the namespace alone (-want +got):\n%s", diff)
	}
	if anchor := Anchor(sharing); anchor.Name != "web-2" {
		t.Errorf("the anchor is %s", anchor.Name)
	}
	if Anchor(nil) != nil {
		t.Error("no hosts have an anchor")
	}
}

// Equal paths on two machines are two disks, unless somebody mounted one on both.
func TestAPathIsARepositoryOfEachMachine(t *testing.T) {
	at := func(url string) func(*v1alpha1.Host) { return func(h *v1alpha1.Host) { h.Spec.Repository.URL = url } }
	for _, url := range []string{"/var/backups/restic", "local:/var/backups/restic"} {
		one, two := testHost("web-1", at(url)), testHost("web-2", at(url))
		if sharing := Sharing(one, []v1alpha1.Host{*one, *two}); len(sharing) != 1 || sharing[0].Name != "web-1" {
			t.Errorf("%s: %d hosts share it, expected web-1 alone", url, len(sharing))
		}
		if Key(one) == Key(two) {
			t.Errorf("%s: both have the key %q", url, Key(one))
		}
		if slashes := testHost("web-1", at(url+"/")); Key(one) != Key(slashes) {
			t.Errorf("%s: with a slash at its end it is another one", url)
		}
	}
}

func TestCheckSpecNamesTheField(t *testing.T) {
	cadence := v1alpha1.Cadence{Cron: "@daily"}
	for _, test := range []struct {
		name, want string
		spec       v1alpha1.RepoMaintenanceSpec
	}{
		{"a valid one", "", v1alpha1.RepoMaintenanceSpec{Forget: &cadence, Prune: &v1alpha1.PruneCadence{Cadence: cadence}, Verify: &v1alpha1.VerifyCadence{Cadence: cadence}}},
		{"a bad forget", `spec.forget.cron: cron "daily" has 1 of five fields: minute, hour, day of month, month, day of week`, v1alpha1.RepoMaintenanceSpec{Forget: &v1alpha1.Cadence{Cron: "daily"}}},
		{"a bad prune", `spec.prune.cron: cron "0 0 31 2 *" never fires: there is no such date`,
			v1alpha1.RepoMaintenanceSpec{Forget: &cadence, Prune: &v1alpha1.PruneCadence{Cadence: v1alpha1.Cadence{Cron: "0 0 31 2 *"}}}},
		{"a bad check", `spec.check.cron: cron "@never" is not known: write five fields such as "30 2 * * *", or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually`,
			v1alpha1.RepoMaintenanceSpec{Check: &v1alpha1.CheckCadence{Cadence: v1alpha1.Cadence{Cron: "@never"}}}},
		{"a bad verify", `spec.verify.cron: cron is empty: write five fields such as "30 2 * * *", or one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually`,
			v1alpha1.RepoMaintenanceSpec{Verify: &v1alpha1.VerifyCadence{}}},
		{"an unknown zone", `spec.timeZone: timeZone "Mars" is not known: write an IANA name such as Europe/Zurich, or UTC`, v1alpha1.RepoMaintenanceSpec{TimeZone: "Mars", Forget: &cadence}},
		{"a bad selector", `spec.hostSelector: "Like" is not a valid label selector operator`, v1alpha1.RepoMaintenanceSpec{Forget: &cadence,
			Selector: v1alpha1.Selector{HostSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "role", Operator: "Like"}}}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := CheckSpec(&test.spec); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, expected %q", got, test.want)
			}
		})
	}
}
