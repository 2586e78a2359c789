package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

var errDown = errors.New("the API server is down")

// reader holds objects; broken has every read fail.
func reader(t *testing.T, broken bool, objects ...client.Object) client.Client {
	t.Helper()
	builder := fake.NewClientBuilder().WithScheme(kinds(t)).WithObjects(objects...)
	if broken {
		builder = builder.WithInterceptorFuncs(interceptor.Funcs{
			Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
				return errDown
			},
			List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return errDown },
		})
	}
	return builder.Build()
}

func scheduleOf(edits ...func(*v1alpha1.Schedule)) *v1alpha1.Schedule {
	s := &v1alpha1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "nightly"},
		Spec:       v1alpha1.ScheduleSpec{Cron: "0 2 * * *", SourceGroups: []string{"etc"}},
	}
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func badCron(s *v1alpha1.Schedule)   { s.Spec.Cron = "61 * * * *" }
func badZone(s *v1alpha1.Schedule)   { s.Spec.TimeZone = "Mars" }
func suspended(s *v1alpha1.Schedule) { s.Spec.Suspend = true }
func deleting(s *v1alpha1.Schedule) {
	s.DeletionTimestamp, s.Finalizers = new(metav1.Now()), []string{"example.com/hold"}
}

func request(t *testing.T, operation admissionv1.Operation, object, old runtime.Object) admission.Request {
	t.Helper()
	raw := func(o runtime.Object) runtime.RawExtension {
		if o == nil {
			return runtime.RawExtension{}
		}
		data, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return runtime.RawExtension{Raw: data}
	}
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{UID: "1", Namespace: "shop", Operation: operation, Object: raw(object), OldObject: raw(old)}}
}

func TestAnswersForASchedule(t *testing.T) {
	const cron = `spec.cron: Invalid value: cron "61 * * * *": minute "61" is not valid: in "61" the end of range (61) above maximum (59)`
	garbage := request(t, admissionv1.Create, scheduleOf(badCron), nil)
	garbage.Object.Raw = []byte(`{"spec":{"cron":7}}`)
	elsewhere := request(t, admissionv1.Create, scheduleOf(badCron), nil)
	elsewhere.Namespace = "other"
	status := request(t, admissionv1.Update, scheduleOf(badCron), scheduleOf())
	status.SubResource = "status"
	for _, tt := range []struct {
		name    string
		request admission.Request
		broken  bool
		refused string // part of the message; empty: it passes
		warned  []string
	}{
		{name: "one in order passes", request: request(t, admissionv1.Create, scheduleOf(), nil)},
		{name: "one that cannot work is refused", request: request(t, admissionv1.Create, scheduleOf(badCron), nil), refused: cron},
		{name: "so is a change that makes it so", request: request(t, admissionv1.Update, scheduleOf(badCron), scheduleOf()), refused: cron},
		{name: "and one that is bad in another way", request: request(t, admissionv1.Update, scheduleOf(badZone), scheduleOf(badCron)), refused: "spec.timeZone"},
		{name: "what was bad before is told", request: request(t, admissionv1.Update, scheduleOf(badCron, suspended), scheduleOf(badCron)),
			warned: []string{strings.Replace(cron, "Invalid value: ", "", 1) + " (as before this change, so it is not refused)"}},
		{name: "what gets better passes", request: request(t, admissionv1.Update, scheduleOf(), scheduleOf(badCron))},
		{name: "one that is being deleted passes", request: request(t, admissionv1.Update, scheduleOf(badCron, deleting), scheduleOf(deleting))},
		{name: "one of a namespace that is not watched passes", request: elsewhere},
		{name: "a status passes", request: status},
		{name: "a deletion passes", request: request(t, admissionv1.Delete, nil, scheduleOf(badCron))},
		{name: "a connection passes", request: request(t, admissionv1.Connect, scheduleOf(badCron), nil)},
		{name: "one that nobody can read passes", request: garbage},
		{name: "one passes while nothing can be looked up", request: request(t, admissionv1.Create, scheduleOf(), nil), broken: true},
		{name: "what cannot work needs no look-up", request: request(t, admissionv1.Create, scheduleOf(badCron), nil), broken: true, refused: cron},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := &v1alpha1.Host{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}}
			group := &v1alpha1.SourceGroup{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "etc"}}
			group.Spec.HostSelector = &metav1.LabelSelector{}
			r := reader(t, tt.broken, host, group)
			h := newHandler(kinds(t), "Schedule", sight{cached: r, live: r}, func(namespace string) bool { return namespace == "shop" }, schedules)
			response := h.Handle(t.Context(), tt.request)
			message := ""
			if response.Result != nil {
				message = response.Result.Message
			}
			if response.Allowed != (tt.refused == "") || !strings.Contains(message, tt.refused) {
				t.Errorf("allowed %t, %q; want it refused with %q", response.Allowed, message, tt.refused)
			}
			if diff := cmp.Diff(tt.warned, response.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

// The API server ignores a webhook that does not answer, but not one that answers with an error.
func TestAPanicIsNoRefusal(t *testing.T) {
	h := newHandler(kinds(t), "Schedule", sight{}, func(string) bool { return true }, judge[*v1alpha1.Schedule]{
		refuse: func(*v1alpha1.Schedule) field.ErrorList { panic("a fault of ours") },
	})
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	asked := request(t, admissionv1.Create, scheduleOf(), nil)
	review, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  &asked.AdmissionRequest,
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(server.URL, "application/json", strings.NewReader(string(review)))
	if err == nil {
		response.Body.Close()
		t.Errorf("it answers %s, want the connection to end", response.Status)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var many []string
	for i := range 30 {
		many = append(many, fmt.Sprintf("warning %d", i))
	}
	got := bounded(many)
	if len(got) != maxWarnings || got[maxWarnings-1] != "and 23 more" {
		t.Errorf("30 warnings become %q", got)
	}
	if got := bounded(many[:maxWarnings]); len(got) != maxWarnings || got[maxWarnings-1] != "warning 7" {
		t.Errorf("8 warnings become %q", got)
	}
	if got := bounded([]string{strings.Repeat("ü", 200)}); len(got[0]) > maxWarning || !strings.HasSuffix(got[0], "ü…") {
		t.Errorf("a long warning becomes %q", got)
	}
}
