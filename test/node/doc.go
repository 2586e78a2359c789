// Package node runs Pods of a test's API server as processes, with what their specs say: it is the kubelet, the container runtime, the scheduler and
// kube-proxy of one small node, so that a Deployment that Helm has applied is really rolled out.
//
// # Use
//
//	func TestMain(m *testing.M) { node.Main(m) }   // everything after it is in network and mount namespaces of its own
//
//	n, err := node.Start(ctx, node.Options{Dir: dir, ControlPlane: cp, Images: map[string]string{"ghcr.io/…:v1": "image.oci.tar"}})
//	defer n.Stop()
//
// The control plane must run the controllers in [Controllers] too.
//
// # What is as on a real node
//
// Each Pod has its network namespace with an address that the others reach, its process tree, and its root file system: the image's files, read-only
// where the spec says so, with the volumes (Secret, ConfigMap, projected service account token, emptyDir, downward API) at their places, renewed when they
// change. The program is started with exactly the command, arguments, environment, user, groups and capabilities of the spec, and with no_new_privs.
// Probes decide whether it is ready and whether it is started again; deletion is SIGTERM, the grace, SIGKILL. Services have their cluster addresses,
// served by the Pods that are ready, and names like web.shop.svc by the hosts file.
//
// # What is not
//
// Not applied: seccomp profiles, resources, NetworkPolicies, affinity and spread (there is one node). A Pod has one container. Only HTTP probes are known,
// once a second whatever their period is. What the spec asks for beyond that is an error in the Pod's status, so that it is not overlooked.
//
// # Internals
//
// [Main] runs the test program again in namespaces of its own; there a bridge holds the Pods' addresses. A Pod's process begins as this program too
// ([Main] tells by the environment), prepares its namespaces and becomes the container's program. One goroutine for each Pod owns all that belongs to it.
package node
