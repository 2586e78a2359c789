// Package metrictable is how a program lists its metrics once, for the code that exports them and for the page that describes them.
package metrictable

// Types of metrics.
const (
	Gauge     = "gauge"
	Counter   = "counter"
	Histogram = "histogram"
)

// Family is one metric with all its label values.
type Family struct {
	Name string
	// Type is Gauge, Counter or Histogram.
	Type string
	// Help says what the value means, and in which unit.
	Help string
	// Labels in the order in which the code gives their values.
	Labels []string
}
