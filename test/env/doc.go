// Package env starts and stops the real parts that tests, the demo and the playground run against: etcd, kube-apiserver,
// kube-controller-manager, rest-server, an S3 server and Prometheus, all on loopback with data in one folder, and any other child process.
//
// # Use
//
// A test package that needs an API server shares one among its tests:
//
//	func TestMain(m *testing.M) { os.Exit(env.Main(m)) }
//
//	func TestX(t *testing.T) {
//		cp := env.Shared(t)                    // started by the first test that asks
//		ns := cp.NewNamespace(t, "x")          // deleted when the test ends
//		cfg, kubeconfig, err := cp.ServiceAccountConfig(t.Context(), "restic-manager-system", "gateway")
//	}
//
// A program calls [Start] and [ControlPlane.Stop] itself; with Options.Detach what it started outlives it, and [Attach]
// finds it again from the folder alone.
//
// # Internals
//
// RBAC is on, and the controllers that behaviour depends on run for real: garbage collection, namespace deletion, cluster
// role aggregation, service accounts. The garbage collector looks for new kinds only every 30 s, so CRDs named in
// Options.CRDs are installed before the controller manager starts; install later ones with InstallCRDs and expect that wait.
//
// Every request is in the audit log at level Metadata, written before its response, so that API writes can be counted per
// user, verb and resource ([ControlPlane.AuditSince]).
//
// A child gets SIGKILL from the kernel when this process ends in whatever way (Pdeathsig). The kernel ties that to the
// thread that forked, so each child has a goroutine locked to its thread which waits for the child's end.
//
// Ports are picked below the kernel's ephemeral range: an outgoing connection can then never take the port of a server
// that is down for a while. A port that somebody else takes between the pick and the bind is replaced by another one.
//
// # Trade-offs
//
// Linux only. etcd runs without fsync and without TLS: data here is worth nothing after a power cut, and whoever can
// reach loopback can read it. Nothing in it should be a secret that matters elsewhere.
//
// # Locks
//
// Process.mu guards the running child and is held for as long as a start or a stop takes, so those are serial per process.
// shared.mu guards the shared control plane and is held while it starts.
package env
