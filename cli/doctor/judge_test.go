package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/cli/query"
)

var now = time.Date(2026, 11, 28, 14, 30, 0, 0, time.UTC)

func at(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }

// healthy is a host on which nothing is wrong.
func healthy() Facts {
	h := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Generation: 1, Labels: map[string]string{"role": "web"}}}
	h.Spec.Repository.URL = "rest:https://backup.example.com/web-1"
	h.Spec.Identity = &v1alpha1.HostIdentity{SigningKey: "s", SealingKey: "x"}
	h.Status.ObservedGeneration = 1
	for kind, reason := range map[string]string{v1alpha1.ConditionReady: "Published", v1alpha1.ConditionEnrolled: "IdentityPinned", v1alpha1.ConditionConnected: "SessionEstablished",
		v1alpha1.ConditionScheduleSetApplied: "Applied", v1alpha1.ConditionRepositoryReady: "RepositoryOpened", v1alpha1.ConditionRepositoryHealthy: "CheckPassed", v1alpha1.ConditionBackupsCurrent: "UpToDate"} {
		set(h, kind, metav1.ConditionTrue, reason, "fine")
	}
	h.Status.Agent = &v1alpha1.AgentStatus{Version: "v1.0.0", ResticVersion: "0.19.1"}
	h.Status.Schedules = []v1alpha1.HostSchedule{{Name: "nightly", SourceGroups: []v1alpha1.HostScheduleGroup{{Name: "etc"}}}}
	h.Status.NextRunTime, h.Status.LastSuccessTime = at(time.Hour), at(-time.Hour)
	h.Status.SourceGroups = []v1alpha1.SourceGroupResult{{Name: "etc", Result: v1alpha1.ResultSucceeded, LastSuccessTime: at(-time.Hour), FinishTime: at(-time.Hour)}}
	scheduleSet := &v1alpha1.ScheduleSet{}
	scheduleSet.Spec.Revision, scheduleSet.Status.AppliedRevision = "r2", "r2"
	group := v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Name: "etc"}}
	group.Spec.HostSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"role": "web"}}
	return Facts{
		Now: now, Namespace: "shop", Name: "web-1", Served: true, Host: h, Set: scheduleSet, Groups: []v1alpha1.SourceGroup{group},
		Credentials: SecretFact{Name: "web-1-repo", Readable: true, Exists: true, Labelled: true, HasPassword: true},
		Gateway:     GatewayFact{URL: "https://gateway.example.com", Dialled: true, NotAfter: now.Add(90 * 24 * time.Hour)},
		Asked:       true, Received: now,
		Diagnosis: &wire.DiagnosisRecord{Time: now, Agent: "v1.0.0", Restic: "0.19.1", Hostname: "web", OS: "linux", Arch: "amd64", StartTime: now.Add(-time.Hour), RepositoryChecked: true,
			Disks: []wire.DiskRecord{{Path: "/var/lib/restic-manager", BytesFree: 50 << 30, BytesTotal: 100 << 30}}},
	}
}

func set(h *v1alpha1.Host, kind string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&h.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: *at(-10 * time.Minute)})
}

func askError(p query.Problem) error {
	return &query.Error{Problem: p, Message: "so it is: " + string(p)}
}

var forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "hostqueries"}, "", errors.New("no"))

func TestAHealthyHostHasNothingToMend(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"everything is known": func(*Facts) {},
		"the person may neither read Secrets nor ask the machine": func(f *Facts) {
			f.Credentials = SecretFact{Name: "web-1-repo"}
			f.Gateway, f.Diagnosis, f.AskErr = GatewayFact{}, nil, forbidden
		},
		"the machine was not asked": func(f *Facts) { f.Gateway, f.Diagnosis, f.Asked = GatewayFact{}, nil, false },
	} {
		f := healthy()
		change(&f)
		found := Judge(f)
		if Worst(found) != Fine {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// Each row breaks one thing; the first that is not fine must be its cause, with a remedy.
func TestEachBrokenSetUpIsNamed(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, reason, message string) func(*Facts) {
		return func(f *Facts) { set(f.Host, kind, status, reason, message) }
	}
	repository := func(reason wire.Reason) func(*Facts) {
		return func(f *Facts) {
			f.Diagnosis.RepositoryReason, f.Diagnosis.RepositoryMessage = string(reason), "restic says so"
		}
	}
	for _, tt := range []struct {
		name    string
		spoil   func(*Facts)
		link    string
		verdict Verdict
		says    string
		fix     string
	}{
		{"the API server is down", func(f *Facts) { *f = Facts{Now: now, Namespace: "shop", Server: errors.New("connection refused")} }, LinkCluster, Wrong, "connection refused", "kubectl get --raw"},
		{"the CRDs are not installed", func(f *Facts) { *f = Facts{Now: now, Namespace: "shop"} }, LinkKinds, Wrong, "not installed", "kubectl apply --server-side -k config/default"},
		{"the CRDs are old", func(f *Facts) { f.MissingKinds = []string{"HostQuery"} }, LinkKinds, Wrong, "HostQuery", "config/crd"},
		{"there is no such host", func(f *Facts) { f.Host = nil }, LinkHost, Wrong, `no Host "web-1"`, "kubectl restic enroll web-1"},
		{"the name is misspelt", func(f *Facts) { f.Host, f.Near = nil, "web-10" }, LinkHost, Wrong, "there is web-10", "doctor web-10"},
		{"the person may read nothing", func(f *Facts) { f.Host, f.HostErr = nil, forbidden }, LinkHost, Wrong, "may not read Hosts", "rolebinding"},
		{"the controllers do not run", func(f *Facts) { f.Host.Status.Conditions = nil }, LinkHost, Wrong, "controllers do not run", "restic-manager-controller"},
		{"the Host cannot work", condition(v1alpha1.ConditionStalled, "True", "Invalid", "spec.repository.url is no URL"), LinkHost, Wrong, "spec.repository.url", "edit host web-1"},
		{"the Host is suspended", func(f *Facts) { f.Host.Spec.Suspend = true }, LinkHost, Warning, "suspended", "resume web-1"},
		{"the Secret is missing", func(f *Facts) { f.Credentials.Exists = false }, LinkCredentials, Wrong, "does not exist", "create secret generic web-1-repo"},
		{"the Secret has no label", func(f *Facts) { f.Credentials.Labelled = false }, LinkCredentials, Wrong, "lacks the label", "label secret web-1-repo"},
		{"the Secret has no password", func(f *Facts) { f.Credentials.HasPassword = false }, LinkCredentials, Wrong, "RESTIC_PASSWORD", "edit secret"},
		{"the Secret is missing, and may not be read", func(f *Facts) {
			f.Credentials = SecretFact{Name: "web-1-repo"}
			set(f.Host, v1alpha1.ConditionReady, "False", v1alpha1.ReasonCredentialsMissing, `Secret "web-1-repo" not found`)
		}, LinkCredentials, Wrong, "not found", "create secret"},
		{"nobody pasted the line", func(f *Facts) {
			f.Host.Spec.Identity = nil
			set(f.Host, v1alpha1.ConditionEnrolled, "False", v1alpha1.ReasonTokenMinted, "waiting")
		}, LinkEnrolment, Wrong, "not run on it yet", "enroll web-1"},
		{"the token expired", func(f *Facts) {
			f.Host.Spec.Identity = nil
			set(f.Host, v1alpha1.ConditionEnrolled, "False", v1alpha1.ReasonTokenExpired, "expired")
		}, LinkEnrolment, Wrong, "token has expired", "enroll web-1"},
		{"the agent never started", func(f *Facts) {
			set(f.Host, v1alpha1.ConditionConnected, "False", v1alpha1.ReasonNeverConnected, "never")
			f.Diagnosis, f.AskErr = nil, askError(query.ProblemNotConnected)
		}, LinkConnection, Wrong, "never connected", "systemctl enable --now"},
		{"the machine is down", func(f *Facts) {
			set(f.Host, v1alpha1.ConditionConnected, "False", v1alpha1.ReasonDisconnected, "no session for 90 s")
			f.Diagnosis, f.AskErr = nil, askError(query.ProblemNotConnected)
		}, LinkConnection, Wrong, "since 10m", "systemctl status"},
		{"a gateway replica died", func(f *Facts) {
			set(f.Host, v1alpha1.ConditionConnected, "False", v1alpha1.ReasonGatewayLost, "replica x is gone")
			f.Diagnosis, f.AskErr = nil, askError(query.ProblemNotConnected)
		}, LinkConnection, Wrong, "replica", "get pods"},
		{"the machine was cloned", condition(v1alpha1.ConditionDuplicateIdentity, "True", "TwoMachines", "web-1b was turned away"), LinkIdentity, Wrong, "web-1b", "on the copy"},
		{"the gateway is out of reach from here", func(f *Facts) {
			f.Gateway.Err, f.Diagnosis, f.AskErr = errors.New("no route to host"), nil, askError(query.ProblemUnreachable)
		}, LinkGateway, Warning, "no route to host", "port-forward"},
		{"the gateway has another certificate", func(f *Facts) {
			f.Gateway.Err, f.Diagnosis, f.AskErr = askError(query.ProblemForged), nil, askError(query.ProblemForged)
		}, LinkGateway, Wrong, "Forged", "gateway-ca-file"},
		{"the gateway's certificate ends soon", func(f *Facts) { f.Gateway.NotAfter = now.Add(3 * 24 * time.Hour) }, LinkGateway, Warning, "2026-12-01", "secret"},
		{"the machine's owner forbids questions", func(f *Facts) {
			f.Diagnosis, f.AskErr = nil, askError(query.Problem(wire.AnswerNotAllowed))
		}, LinkMachine, Warning, "NotAllowedByMachine", ""},
		{"restic is missing on the machine", func(f *Facts) { f.Diagnosis.Restic, f.Diagnosis.ResticError = "", "not in PATH" }, LinkVersions, Wrong, "not in PATH", "install restic"},
		{"restic is too old", func(f *Facts) { f.Diagnosis.Restic = "0.16.4" }, LinkVersions, Wrong, "0.16.4 is too old", "self-update"},
		{"the clock is wrong", func(f *Facts) { f.Diagnosis.Time = now.Add(-2 * time.Hour) }, LinkClock, Wrong, "2h0m0s behind", "timedatectl"},
		{"nothing is published", func(f *Facts) { f.Set = nil }, LinkSet, Wrong, "nothing is published", "describe host"},
		{"the machine trusts other controllers", func(f *Facts) {
			f.Set.Status.AppliedRevision = "r1"
			f.Set.Status.Refusal = &v1alpha1.Refusal{Revision: "r2", Reason: "BadSignature", Message: "signed by no key"}
		}, LinkSet, Wrong, "BadSignature", "enroll web-1 --again"},
		{"the set is not applied", func(f *Facts) { f.Set.Status.AppliedRevision = "r1" }, LinkSet, Warning, "not confirmed", "scheduleset web-1"},
		{"hooks are not allowed", func(f *Facts) {
			f.Set.Status.NotAllowed = []v1alpha1.NotAllowed{{SourceGroup: "etc", What: "hooks", Message: "not allowed"}}
		}, LinkConsent, Wrong, "hooks of group etc", "agent.yaml"},
		{"no group means the host", func(f *Facts) { f.Host.Labels, f.Host.Status.Schedules = nil, nil }, LinkSchedule, Wrong, "no source group", "get sourcegroups"},
		{"no schedule fires the group", func(f *Facts) { f.Host.Status.Schedules = nil }, LinkSchedule, Wrong, "no schedule", "get schedules"},
		{"the schedule is suspended", func(f *Facts) { f.Host.Status.Schedules[0].Suspended = true }, LinkSchedule, Warning, "suspended", "resume schedule/nightly"},
		{"the password is wrong", repository(wire.ReasonWrongPassword), LinkRepository, Wrong, "WrongPassword", "edit secret web-1-repo"},
		{"the storage refuses the user", repository(wire.ReasonUnauthorized), LinkRepository, Wrong, "Unauthorized", "edit secret"},
		{"the storage is out of reach", repository(wire.ReasonUnreachable), LinkRepository, Wrong, "Unreachable", "curl -v https://backup.example.com/web-1"},
		{"the storage's certificate is not trusted", repository(wire.ReasonTLS), LinkRepository, Wrong, "TLSError", "caBundle"},
		{"there is no repository", repository(wire.ReasonNoRepository), LinkRepository, Wrong, "NoRepository", "run init web-1"},
		{"it was last seen failing, and nobody was asked", func(f *Facts) {
			f.Diagnosis, f.Asked = nil, false
			set(f.Host, v1alpha1.ConditionRepositoryReady, "False", "WrongPassword", "wrong password")
		}, LinkRepository, Wrong, "WrongPassword", "edit secret"},
		{"somebody else's lock is in the way", func(f *Facts) { f.Diagnosis.Locks = []string{"PID 7 on vault"} }, LinkLock, Warning, "PID 7 on vault", "run unlock web-1"},
		{"the repository is damaged", condition(v1alpha1.ConditionRepositoryHealthy, "False", "CheckFailed", "2 errors"), LinkHealth, Wrong, "2 errors", "jobs web-1"},
		{"the repository lets nothing be forgotten", func(f *Facts) {
			f.Host.Status.Maintenance = &v1alpha1.MaintenanceStatus{Forget: &v1alpha1.OperationStatus{Result: v1alpha1.ResultFailed, Reason: "ForgetRefused"}}
		}, LinkMaintenance, Warning, "ForgetRefused", "adminCredentialsSecretRef"},
		{"the last backup failed", func(f *Facts) {
			f.Host.Status.SourceGroups[0].Result, f.Host.Status.SourceGroups[0].Reason = v1alpha1.ResultFailed, "SourceMissing"
		}, LinkResults, Wrong, "SourceMissing", "logs web-1 --group etc"},
		{"some files could not be read", func(f *Facts) { f.Host.Status.SourceGroups[0].Result = v1alpha1.ResultCompletedWithErrors }, LinkResults, Warning, "CompletedWithErrors", "logs web-1"},
		{"a backup is overdue", func(f *Facts) {
			f.Host.Status.Overdue = []v1alpha1.OverdueBackup{{SourceGroup: "etc", Schedule: "nightly", DueTime: *at(-9 * 24 * time.Hour)}}
		}, LinkOverdue, Wrong, "9d ago", "run backup web-1 --group etc"},
		{"the minted password is nowhere else", condition(v1alpha1.ConditionCredentialsExported, "False", "ExportNotConfirmed", "made here"), LinkPassword, Warning, "made here", "get secret web-1-repo"},
		{"the minted password is lost", condition(v1alpha1.ConditionCredentialsExported, "False", "MintedSecretMissing", "gone"), LinkPassword, Wrong, "gone", "export-credentials"},
		{"the machine's disk is full", func(f *Facts) { f.Diagnosis.Disks[0].BytesFree = 1 << 20 }, LinkDisk, Wrong, "1.0 MiB of 100.0 GiB", "df -h"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := healthy()
			tt.spoil(&f)
			for _, found := range Judge(f) {
				if found.Verdict == Fine || found.Verdict == Skipped {
					continue
				}
				if found.Link != tt.link || found.Verdict != tt.verdict || !strings.Contains(found.Says, tt.says) || !strings.Contains(found.Fix, tt.fix) {
					t.Errorf("got %+v\nexpected %s %s, that it says %q, and the remedy %q", found, tt.verdict, tt.link, tt.says, tt.fix)
				}
				return
			}
			t.Error("nothing is found")
		})
	}
}

func TestNoScheduleIsBlamedBeforeAMachineIsEnrolled(t *testing.T) {
	f := healthy()
	f.Host.Spec.Identity, f.Host.Status.Schedules = nil, nil
	for _, found := range Judge(f) {
		if found.Link == LinkSchedule && found.Verdict != Skipped {
			t.Errorf("got %+v", found)
		}
	}
}
