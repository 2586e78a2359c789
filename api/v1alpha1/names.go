package v1alpha1

// Labels and annotations.
const (
	// LabelCredentials must be "true" on a Secret before the controllers read it: else anyone who may edit a Host could have any
	// Secret of the namespace sent to a machine.
	LabelCredentials = "backup.restic-manager.io/credentials"
	// LabelHost carries the name of the Host on objects made for it.
	LabelHost = "backup.restic-manager.io/host"
	// AnnotationMintToken on a Host asks for a new enrolment token: any new value does, for instance the time.
	AnnotationMintToken = "backup.restic-manager.io/mint-enrollment-token"
	// AnnotationEnrolledWith on a Host holds the hash of the token that pinned its identity; written with the identity, in one update.
	AnnotationEnrolledWith = "backup.restic-manager.io/enrolled-with"
)

// EnrollmentSecretName is the name of the Secret with a Host's enrolment token.
func EnrollmentSecretName(host string) string { return host + "-enrollment" }

// Field managers: one for each writer of a status.
const (
	ManagerControllers = "restic-manager-controllers"
	ManagerGateway     = "restic-manager-gateway"
)

// GatewayLeaseLabel marks the Leases by which gateway replicas show that they live; its value is GatewayLeaseComponent.
const (
	GatewayLeaseLabel     = "backup.restic-manager.io/component"
	GatewayLeaseComponent = "gateway"
	// GatewayLeasePrefix begins the name of each such Lease; the gateway's instance id follows.
	GatewayLeasePrefix = "restic-manager-gateway-"
)
