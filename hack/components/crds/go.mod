// The CRDs of others to which the chart's objects belong: files in these modules, of which nothing is built.
module github.com/restic-manager/restic-manager/hack/components/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	sigs.k8s.io/gateway-api v1.6.3
)
