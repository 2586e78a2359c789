// Command metricsdoc writes docs/metrics.md from the lists that the programs export their metrics by.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/restic-manager/restic-manager/agentgateway"
	"github.com/restic-manager/restic-manager/controllers/metrics"
	"github.com/restic-manager/restic-manager/internal/metrictable"
)

const head = `# Metrics

Both programs serve Prometheus metrics over plain HTTP at ` + "`/metrics`" + ` (` + "`--metrics-bind-address`, `:8080` by default" + `). Names and labels are stable: a change is told in the
changelog. What to alert on, and how to scrape, tells the guide [Monitoring](guides/monitoring.md).

Beside the metrics below there are those of [controller-runtime](https://book.kubebuilder.io/reference/metrics-reference) (` + "`controller_runtime_*`, `workqueue_*`, `rest_client_*`" + `) and
of the Go runtime and the process (` + "`go_*`, `process_*`" + `).

<!-- Written by make generate; the text comes from the code. -->
`

const controllers = `
## Controllers

What is about objects is exported by the replica that leads alone, from its cache at the time of the scrape, for at most ` + "`--metrics-host-limit`" + ` Hosts.
`

const gateway = `
## Gateway

Each replica exports its own. Labels take values from the program only, never from a machine.
`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: metricsdoc FILE")
		os.Exit(2)
	}
	text := head + controllers + table(metrics.Families()) + gateway + table(agentgateway.MetricFamilies())
	if err := os.WriteFile(os.Args[1], []byte(text), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "metricsdoc:", err)
		os.Exit(1)
	}
}

func table(families []metrictable.Family) string {
	var b strings.Builder
	b.WriteString("\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		labels := ""
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, f.Help)
	}
	return b.String()
}
