package metrics

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

const apiWrites = prefix + "controller_api_writes_total"

// Writes counts the requests of a client that change something at the API server.
type Writes struct{ counter *prometheus.CounterVec }

// NewWrites returns a counter, which is to be registered.
func NewWrites() *Writes {
	for _, f := range Families() {
		if f.Name == apiWrites {
			return &Writes{prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help}, f.Labels)}
		}
	}
	panic("metrics: " + apiWrites + " is not among the families") // a mistake in this package
}

// Describe implements prometheus.Collector.
func (w *Writes) Describe(out chan<- *prometheus.Desc) { w.counter.Describe(out) }

// Collect implements prometheus.Collector.
func (w *Writes) Collect(out chan<- prometheus.Metric) { w.counter.Collect(out) }

// Wrap counts what goes through a transport; it is for rest.Config.Wrap.
func (w *Writes) Wrap(next http.RoundTripper) http.RoundTripper {
	return &countingTransport{w.counter, next}
}

type countingTransport struct {
	counter *prometheus.CounterVec
	next    http.RoundTripper
}

var verbs = map[string]string{http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete"}

// RoundTrip implements http.RoundTripper.
func (t *countingTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if verb, writes := verbs[request.Method]; writes {
		code := "error"
		if err == nil {
			code = strconv.Itoa(response.StatusCode/100) + "xx"
		}
		t.counter.WithLabelValues(resourceOf(request.URL.Path), verb, code).Inc()
	}
	return response, err
}

// resourceOf is the resource, and subresource, in a path of the API server. These are the controllers' own, so there are few.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) >= 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) >= 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return "other"
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	switch len(parts) {
	case 0:
		return "other"
	case 1, 2:
		return parts[0]
	}
	return parts[0] + "/" + parts[2]
}
