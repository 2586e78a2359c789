// Package monitoring holds the tests of config/monitoring: that what is for the Prometheus operator decodes strictly into its
// types, that every alert fires when it should and at no other time, that the dashboard keeps to Grafana's schema and each of its
// expressions can be evaluated, that only metrics which are exported are asked for, and that the guide has a section on every alert.
//
// Rules are judged twice: by promtool, which owns the time (testdata/alerts*.yaml), and by a real Prometheus that scrapes
// testdata/*.prom, with its waits shortened.
package monitoring
