// Package kube is how the plugin reaches the API server: with the kubeconfig, the context and the namespace that kubectl itself would use, and with no rights but
// those of the person.
//
// # Use
//
//	c, err := kube.NewClient(config)
//	err = kube.Until(ctx, c, host, func(h *v1alpha1.Host) (bool, error) { … })
//
// # Internals
//
// The client maps kinds to resources from a table: our own kinds and Secrets are all that is asked for, so that no command begins with a round of discovery.
// Until reads, watches from there, and reads again when the watch ends: what happened in between is not missed, and a lost connection is no end.
//
// Explain turns what the API server says into a sentence with the remedy. Everything here is safe for concurrent use.
package kube
