package metrics

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWritesAreCountedByResource(t *testing.T) {
	w := NewWrites()
	answer := http.StatusOK
	var failure error
	transport := w.Wrap(roundTripper(func(*http.Request) (*http.Response, error) {
		if failure != nil {
			return nil, failure
		}
		return &http.Response{StatusCode: answer, Body: io.NopCloser(strings.NewReader(""))}, nil
	}))
	do := func(method, path string) {
		t.Helper()
		response, err := transport.RoundTrip(httptest.NewRequest(method, "https://api"+path, nil))
		if err == nil {
			_ = response.Body.Close()
		} else if failure == nil {
			t.Fatal(err)
		}
	}
	do(http.MethodPatch, "/apis/backup.restic-manager.io/v1alpha1/namespaces/shop/hosts/web-1/status")
	do(http.MethodPatch, "/apis/backup.restic-manager.io/v1alpha1/namespaces/shop/hosts/web-2/status")
	do(http.MethodPost, "/api/v1/namespaces/shop/secrets")
	do(http.MethodGet, "/api/v1/namespaces/shop/secrets")
	answer = http.StatusConflict
	do(http.MethodPut, "/apis/backup.restic-manager.io/v1alpha1/namespaces/shop/schedulesets/web-1")
	failure = errors.New("connection refused")
	do(http.MethodDelete, "/apis/backup.restic-manager.io/v1alpha1/namespaces/shop/hostjobs/one")
	do(http.MethodPost, "/somewhere")

	const want = `
# HELP restic_manager_controller_api_writes_total Requests of this replica that change something at the API server, by resource, verb and class of the answer (2xx, 4xx, 5xx, error).
# TYPE restic_manager_controller_api_writes_total counter
restic_manager_controller_api_writes_total{code="2xx",resource="hosts/status",verb="patch"} 2
restic_manager_controller_api_writes_total{code="2xx",resource="secrets",verb="create"} 1
restic_manager_controller_api_writes_total{code="4xx",resource="schedulesets",verb="update"} 1
restic_manager_controller_api_writes_total{code="error",resource="hostjobs",verb="delete"} 1
restic_manager_controller_api_writes_total{code="error",resource="other",verb="create"} 1
`
	if err := testutil.CollectAndCompare(w, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
