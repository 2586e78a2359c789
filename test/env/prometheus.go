package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// PrometheusOptions of a Prometheus. It scrapes and judges once a second unless told otherwise.
type PrometheusOptions struct {
	Dir    string // configuration, data, log and pid file; required
	BinDir string // default: see Binary

	Targets []ScrapeTarget
	// HonorLabels leaves labels of the scraped series as they are where those of the target have the same name, as the
	// project's ServiceMonitors ask for.
	HonorLabels bool
	RuleFiles   []string

	ScrapeInterval     time.Duration // default 1 s
	EvaluationInterval time.Duration // default 1 s

	Detach bool
	Log    func(format string, args ...any)
}

// ScrapeTarget is one job with one target.
type ScrapeTarget struct {
	Job     string
	Address string            // host:port
	Path    string            // default /metrics
	Labels  map[string]string // beside job and instance
}

// Prometheus is a running Prometheus. Its Process can be stopped, killed and started again: address and data stay.
type Prometheus struct {
	*Process
	port int
}

// Sample is one series of an answer, with its newest value.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Alert is one that is pending or firing.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"` // pending or firing
}

// StartPrometheus starts a Prometheus and waits until it answers.
func StartPrometheus(ctx context.Context, options PrometheusOptions) (*Prometheus, error) {
	if options.Dir == "" {
		return nil, errors.New("env.StartPrometheus: Dir is required")
	}
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	path, err := Binary(options.BinDir, PrometheusBinary)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "prometheus.yaml")
	config, err := options.config()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	p := &Prometheus{}
	return p, onFreePorts(1, func(ports []int) error {
		p.port = ports[0]
		p.Process = NewProcess(Command{
			Name: PrometheusBinary,
			Path: path,
			Args: []string{
				"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + loopback(p.port),
				"--log.level=warn",
			},
			Dir:     dir,
			LogFile: filepath.Join(dir, "logs", "prometheus.log"),
			PIDFile: filepath.Join(dir, "run", "prometheus.pid"),
			Detach:  options.Detach,
			Log:     options.Log,
			Ready:   func(ctx context.Context) error { return getHealth(ctx, p.URL()+"/-/ready", nil) },
		})
		return p.Process.Start(ctx)
	})
}

// config is what Prometheus reads.
func (o PrometheusOptions) config() ([]byte, error) {
	type object = map[string]any
	jobs := []object{}
	for _, target := range o.Targets {
		path := target.Path
		if path == "" {
			path = "/metrics"
		}
		jobs = append(jobs, object{
			"job_name": target.Job, "metrics_path": path, "honor_labels": o.HonorLabels,
			"static_configs": []object{{"targets": []string{target.Address}, "labels": target.Labels}},
		})
	}
	rules := []string{}
	for _, file := range o.RuleFiles {
		file, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		rules = append(rules, file)
	}
	scrape, evaluation := secondUnlessSet(o.ScrapeInterval), secondUnlessSet(o.EvaluationInterval)
	return yaml.Marshal(object{
		"global":         object{"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": evaluation},
		"rule_files":     rules,
		"scrape_configs": jobs,
	})
}

func secondUnlessSet(d time.Duration) string {
	if d == 0 {
		d = time.Second
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// URL returns the server's address without a slash at its end.
func (p *Prometheus) URL() string { return "http://" + loopback(p.port) }

// Query evaluates an expression now. A scalar is a sample without labels.
func (p *Prometheus) Query(ctx context.Context, expr string) ([]Sample, error) {
	var answer struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	}
	if err := p.call(ctx, "query", url.Values{"query": {expr}}, &answer); err != nil {
		return nil, err
	}
	switch answer.ResultType {
	case "scalar":
		var value point
		if err := json.Unmarshal(answer.Result, &value); err != nil {
			return nil, err
		}
		return []Sample{{Value: float64(value)}}, nil
	case "vector":
		var series []struct {
			Metric map[string]string `json:"metric"`
			Value  point             `json:"value"`
		}
		if err := json.Unmarshal(answer.Result, &series); err != nil {
			return nil, err
		}
		var samples []Sample
		for _, s := range series {
			samples = append(samples, Sample{Labels: s.Metric, Value: float64(s.Value)})
		}
		return samples, nil
	}
	return nil, fmt.Errorf("query %s: a %s, expected a vector or a scalar", expr, answer.ResultType)
}

// point is a value as the API gives it: [time, "value"].
type point float64

func (p *point) UnmarshalJSON(data []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	var text string
	if err := json.Unmarshal(pair[1], &text); err != nil {
		return err
	}
	value, err := strconv.ParseFloat(text, 64)
	*p = point(value)
	return err
}

// Alerts returns the alerts that are pending or firing.
func (p *Prometheus) Alerts(ctx context.Context) ([]Alert, error) {
	var answer struct {
		Alerts []Alert `json:"alerts"`
	}
	return answer.Alerts, p.call(ctx, "alerts", nil, &answer)
}

// Parse returns the syntax tree of an expression as Prometheus' API gives it.
func (p *Prometheus) Parse(ctx context.Context, expr string) (map[string]any, error) {
	var tree map[string]any
	return tree, p.call(ctx, "parse_query", url.Values{"query": {expr}}, &tree)
}

func (p *Prometheus) call(ctx context.Context, endpoint string, values url.Values, data any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	method, body := http.MethodGet, ""
	if values != nil {
		method, body = http.MethodPost, values.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, p.URL()+"/api/v1/"+endpoint, strings.NewReader(body))
	if err != nil {
		return err
	}
	if values != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %s: %w", endpoint, response.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s %s: %s", endpoint, values.Get("query"), answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}
