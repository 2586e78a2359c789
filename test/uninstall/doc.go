// Package uninstall tests that nothing sticks when the operator is gone: with the controllers and the gateway stopped for good, every object, every namespace and
// the CRDs themselves are deleted promptly by Kubernetes alone, since nothing of restic-manager has a finalizer. It has a control plane of its own, with the
// garbage collector and the namespace controller, because it takes the CRDs away.
package uninstall
