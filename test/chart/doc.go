// Package chart tests the Helm chart: that it lints, that its schema knows its values and refuses others, that what it renders for each file in
// charts/restic-manager/ci is taken by a real API server and passes kube-score but for what testdata/exceptions.yaml explains, that its defaults are config/default,
// that the programs know the flags, and that install, upgrade and uninstall do what docs/install.md and docs/uninstall.md say.
//
// # Trade-offs
//
// There is no kubelet: Deployments are objects here and never Pods, so helm does not wait, and what the Pod of helm test runs is tested with the gateway's own tests.
// The Prometheus operator publishes its types as a Go module but not its CRDs, so ServiceMonitors and PrometheusRules are decoded strictly instead of applied.
package chart
