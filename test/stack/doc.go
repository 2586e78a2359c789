// Package stack runs the whole of restic-manager for demo, playground and end-to-end tests: the control plane of package env, a
// rest-server, the controllers and gateway replicas under their own service accounts, and agents on "machines", each a folder.
//
// # Use
//
//	s, err := stack.Start(ctx, stack.Options{Dir: dir, Gateways: 2})
//	defer s.Stop()
//	a, err := s.Enroll(ctx, stack.Machine{Namespace: "shop", Host: "web-1"})
//	err = a.Start(ctx)
//
// # Internals
//
// What is applied to the cluster is config/crd, config/rbac, config/admission and config/flowcontrol as they stand, so that the programs run with exactly
// the permissions that are shipped; and config/webhook, by which the API server asks the controllers on loopback instead of through a Service. The stack is
// ready when the webhook answers. Agents reach the gateway replicas through a Balancer, a TCP relay that a test can point elsewhere
// or cut; the playground has one replica and no balancer. Everything is a child process that ends with this one, unless Detach is set.
package stack
