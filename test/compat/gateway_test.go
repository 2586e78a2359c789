package compat

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/agentgateway"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/test/compat/frozen"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

func TestMain(m *testing.M) { os.Exit(env.Main(m)) }

const patience = 30 * time.Second

// world is today's gateway, and what the controllers of the record had published.
type world struct {
	*testing.T
	client.Client
	url    string
	tls    *tls.Config
	record *Record
	host   *v1alpha1.Host
	number int64
}

func newWorld(t *testing.T, r *Record) *world {
	t.Helper()
	cp := env.Shared(t)
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range [][]string{{"-f", "config/default/namespace.yaml"}, {"-k", "config/rbac"}, {"-k", "config/admission"}} {
		if _, err := cp.Kubectl(t.Context(), "apply", "--server-side", from[0], filepath.Join(root, from[1])); err != nil {
			t.Fatal(err)
		}
	}
	config, _, err := cp.ServiceAccountConfig(t.Context(), stack.Namespace, "restic-manager-gateway")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, record: r}
	if w.Client, err = stack.NewClient(cp.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	if _, err := cp.Kubectl(t.Context(), "create", "namespace", Namespace); err != nil {
		t.Fatal(err)
	}
	w.publish()
	ca, err := env.EnsureCA(t.TempDir(), "compat")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("gateway", env.LeafRequest{})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(leaf.CertFile, leaf.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url, w.tls = "https://"+listener.Addr().String(), &tls.Config{RootCAs: ca.Pool()}
	g, err := agentgateway.New(agentgateway.Options{
		Config: config, Namespace: stack.Namespace, Instance: "compat", Listener: listener, DrainSpread: time.Nanosecond, Logger: slog.New(slog.DiscardHandler),
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, o := range []client.Object{&v1alpha1.HostJob{}, &v1alpha1.ScheduleSet{}, &v1alpha1.Host{}} {
			if err := w.DeleteAllOf(context.Background(), o, client.InNamespace(Namespace)); err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// publish creates the Host and the set of the record, as the controllers left them.
func (w *world) publish() {
	w.Helper()
	offer := first[*wire.SetOffer](w.T, w.record, "schedule.set")
	for _, l := range w.record.Frames(Gateway, "schedule.set") { // the newest: the machine fires by it
		message, ok := open(w.T, l.Text).(*wire.SetOffer)
		if ok {
			offer = message
		}
	}
	w.host = &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Host}}
	w.host.Spec.Repository.URL, w.host.Spec.Identity = "/srv/restic", &w.record.Keys.Identity
	w.must(w.Create(w.Context(), w.host))
	bundle, err := wire.ParseScheduleSet(offer.Bundle)
	w.must(err)
	set := &v1alpha1.ScheduleSet{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Host}}
	set.Spec = v1alpha1.ScheduleSetSpec{
		Host:     v1alpha1.ScheduleSetHost{Name: Host, UID: string(w.host.UID), Identity: w.record.Keys.Identity},
		Revision: offer.Revision, Serial: bundle.Serial, Bundle: offer.Bundle,
		Groups:    []v1alpha1.ScheduleSetGroup{{Name: Group, Generation: 1}},
		Schedules: []v1alpha1.ScheduleSetSchedule{{Name: Schedule, Generation: 1, SourceGroups: []string{Group}}},
	}
	for _, s := range offer.Signatures {
		set.Spec.Signatures = append(set.Spec.Signatures, v1alpha1.Signature{KeyID: s.KeyID, Value: base64.StdEncoding.EncodeToString(s.Value)})
	}
	for _, c := range offer.Credentials {
		set.Spec.Credentials = append(set.Spec.Credentials, v1alpha1.SealedCredential{Name: c.Name, Sealed: base64.StdEncoding.EncodeToString(c.Sealed)})
	}
	w.must(w.Create(w.Context(), set))
}

// dial tries until the gateway has seen the Host, and says the recorded hello.
func (w *world) dial(ctx context.Context, changes frozen.Object) (*frozen.Client, frozen.Object) {
	w.Helper()
	var c *frozen.Client
	var answer frozen.Object
	env.Eventually(w.T, patience, "the gateway knows the Host", func(context.Context) error {
		w.number++
		all := frozen.Object{"session": w.number, "appliedRevision": "", "appliedSerial": 0, "unacked": 0, "queued": nil, "running": nil}
		for name, value := range changes {
			all[name] = value
		}
		var err error
		if c, err = frozen.Dial(ctx, w.url, w.tls); err != nil {
			return err
		}
		if answer, err = c.Hello(ctx, w.record.Frames(Agent, "hello")[0].Text, w.record.Keys.SigningSeed, all); err != nil {
			return err
		}
		if payload, _ := answer["payload"].(frozen.Object); payload["code"] == "unknown_host" || payload["code"] == "busy" {
			c.Close()
			return fmt.Errorf("%v", payload)
		}
		return nil
	})
	w.Cleanup(c.Close)
	return c, answer
}

// say sends recorded frames of the agent, about one job.
func (w *world) say(ctx context.Context, c *frozen.Client, replace *strings.Replacer, job string, types ...string) {
	w.Helper()
	sent := 0
	for _, l := range w.record.Frames(Agent, types...) {
		if strings.Contains(l.Text, job) {
			w.must(c.Send(ctx, replace.Replace(l.Text)))
			sent++
		}
	}
	if sent == 0 {
		w.Fatalf("the record holds none of %v about %q", types, job)
	}
}

func stringIn(t *testing.T, l Line, name string) string {
	t.Helper()
	var frame struct {
		Payload map[string]any `json:"payload"`
	}
	if err := json.Unmarshal([]byte(l.Text), &frame); err != nil {
		t.Fatal(err)
	}
	s, _ := frame.Payload[name].(string)
	return s
}

func TestAnEarlierAgentWorksWithTodaysGateway(t *testing.T) {
	forEach(t, func(t *testing.T, r *Record) {
		w := newWorld(t, r)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		c, answer := w.dial(ctx, nil)
		if answer["type"] != "welcome" {
			t.Fatalf("hello is answered with %v", answer)
		}
		same := strings.NewReplacer()
		set, err := c.Await(ctx, "schedule.set")
		w.must(err)
		revision, _ := set["revision"].(string)
		w.say(ctx, c, same, revision, "schedule.ack")

		fired := r.Frames(Agent, "schedule.fire")[0]
		job := stringIn(t, fired, "jobID")
		w.must(c.Send(ctx, fired.Text))
		verdict, err := c.Await(ctx, "fire.verdict")
		w.must(err)
		if verdict["admit"] != true || verdict["jobID"] != job {
			t.Errorf("the verdict is %v", verdict)
		}
		w.say(ctx, c, same, job, "job.started", "job.finished")
		ack, err := c.Await(ctx, "report.ack")
		w.must(err)
		if ack["discarded"] == true {
			t.Errorf("the result is answered with %v", ack)
		}
		env.Eventually(t, patience, "the ack and the result are in status", func(ctx context.Context) error {
			host, now := &v1alpha1.Host{}, &v1alpha1.ScheduleSet{}
			key := client.ObjectKeyFromObject(w.host)
			if err := w.Get(ctx, key, host); err != nil {
				return err
			}
			if err := w.Get(ctx, key, now); err != nil {
				return err
			}
			if now.Status.AppliedRevision != revision || len(host.Status.SourceGroups) != 1 || host.Status.SourceGroups[0].LastSuccessTime == nil {
				return fmt.Errorf("applied %q, results %+v", now.Status.AppliedRevision, host.Status.SourceGroups)
			}
			return nil
		})
		w.command(ctx, c)
	})
}

// command has the agent of the record run a HostJob.
func (w *world) command(ctx context.Context, c *frozen.Client) {
	w.Helper()
	recorded := first[*wire.CommandRun](w.T, w.record, "command.run")
	job := &v1alpha1.HostJob{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Job}}
	job.Spec.HostRef.Name, job.Spec.Kind, job.Spec.Backup = Host, v1alpha1.HostJobBackup, &v1alpha1.BackupJob{SourceGroup: Group}
	w.must(w.Create(ctx, job))
	job.Status.Phase = v1alpha1.JobPending
	job.Status.Command = &v1alpha1.SignedDocument{Document: recorded.Command, Signatures: []v1alpha1.Signature{
		{KeyID: recorded.Signatures[0].KeyID, Value: base64.StdEncoding.EncodeToString(recorded.Signatures[0].Value)}}}
	w.must(w.Status().Update(ctx, job))
	run, err := c.Await(ctx, "command.run")
	w.must(err)
	if run["command"] != recorded.Command || run["jobID"] != "job-"+string(job.UID) {
		w.Errorf("the command is %v", run)
	}
	then := strings.TrimPrefix(recorded.JobID, "job-")
	w.say(ctx, c, strings.NewReplacer(then, string(job.UID)), then, "command.ack", "job.started", "job.finished")
	env.Eventually(w.T, patience, "the HostJob has succeeded", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.Phase != v1alpha1.JobSucceeded {
			return fmt.Errorf("phase is %q", job.Status.Phase)
		}
		return nil
	})
	w.refusals(ctx)
	w.enrolment(ctx)
}

// refusals are words that earlier agents know.
func (w *world) refusals(ctx context.Context) {
	w.Helper()
	_, answer := w.dial(ctx, frozen.Object{"protocol": 0})
	payload, _ := answer["payload"].(frozen.Object)
	if answer["type"] != "error" || payload["code"] == "" || payload["message"] == "" {
		w.Errorf("an agent without a protocol is answered with %v", answer)
	}
	c, err := frozen.Dial(ctx, w.url, w.tls)
	w.must(err)
	defer c.Close()
	answer, err = c.Hello(ctx, w.record.Frames(Agent, "hello")[0].Text, make([]byte, 32), nil)
	w.must(err)
	if payload, _ := answer["payload"].(frozen.Object); payload["code"] != "bad_signature" {
		w.Errorf("another machine is answered with %v", answer)
	}
}

// enrolment posts the recorded request: the gateway puts it on record for the controllers.
func (w *world) enrolment(ctx context.Context) {
	w.Helper()
	var body string
	for _, l := range w.record.Lines {
		if l.From == Agent && l.Path == "/agent/v1/enroll" {
			body = strings.ReplaceAll(l.Text, w.record.Keys.HostUID, string(w.host.UID))
		}
	}
	var request struct {
		TokenID string `json:"tokenID"`
	}
	w.must(json.Unmarshal([]byte(body), &request))
	w.must(w.Get(ctx, client.ObjectKeyFromObject(w.host), w.host))
	expires := metav1.NewTime(time.Now().Add(time.Hour))
	base := w.host.DeepCopy() // the gateway may be writing the result of the job before
	w.host.Status.Enrollment = &v1alpha1.EnrollmentStatus{TokenIDHash: wire.TokenIDHash(request.TokenID), ExpiresAt: &expires}
	w.must(w.Status().Patch(ctx, w.host, client.MergeFrom(base)))
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/agent/v1/enroll", strings.NewReader(body))
	w.must(err)
	post.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: w.tls}}).Do(post)
	w.must(err)
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	w.must(err)
	if response.StatusCode != http.StatusAccepted {
		w.Fatalf("the request is answered with %s: %s", response.Status, said)
	}
	w.must(w.Get(ctx, client.ObjectKeyFromObject(w.host), w.host))
	if asked := w.host.Status.EnrollmentRequest; asked == nil || asked.SigningKey != w.record.Keys.Identity.SigningKey {
		w.Errorf("on record is %+v", asked)
	}
}
