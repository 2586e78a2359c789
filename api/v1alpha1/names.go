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
	// LabelDefault marks a RepoMaintenance that was made for a Host which none selected. It goes when another one selects the Host.
	LabelDefault = "backup.restic-manager.io/default"
	// LabelMaintenance carries the name of the RepoMaintenance on the HostJobs that it made, LabelOperation the operation (forget, prune, check, verify).
	LabelMaintenance = "backup.restic-manager.io/maintenance"
	LabelOperation   = "backup.restic-manager.io/operation"
	// AnnotationScheduleTime on such a HostJob is the time of the cron expression that it is for, RFC 3339.
	AnnotationScheduleTime = "backup.restic-manager.io/schedule-time"
	// AnnotationExported on a Secret with minted credentials says that a person keeps a copy outside the cluster: "true".
	AnnotationExported = "backup.restic-manager.io/credentials-exported"
	// AnnotationAllowDeletion on a SourceGroup lets it be deleted although Schedules name it: "true".
	AnnotationAllowDeletion = "backup.restic-manager.io/allow-deletion"
	// AnnotationEnrolledWith on a Host holds the hash of the token that pinned its identity; written with the identity, in one update.
	AnnotationEnrolledWith = "backup.restic-manager.io/enrolled-with"
)

// EnrollmentSecretName is the name of the Secret with a Host's enrolment token.
func EnrollmentSecretName(host string) string { return host + "-enrollment" }

// MintedSecretName is the name of the Secret with credentials that the controllers made for a Host.
func MintedSecretName(host string) string { return host + "-repo" }

// DefaultMaintenanceName is the name of the RepoMaintenance of a Host that none selected.
func DefaultMaintenanceName(host string) string { return host + "-default" }

// AdminRepositoryKey is the key of an admin Secret with the URL by which its access goes, where it is not the Host's own.
const AdminRepositoryKey = "RESTIC_REPOSITORY"

// ClientCertificateKey and ClientKeyKey are the keys of a credentials Secret with a TLS client certificate, PEM, as in a kubernetes.io/tls Secret.
const (
	ClientCertificateKey = "tls.crt"
	ClientKeyKey         = "tls.key"
)

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
	// AnnotationRelayAddress and AnnotationRelayPin on such a Lease are where other replicas reach this one (host:port), and the key of the certificate that it
	// serves ("sha256:<base64>" of its SubjectPublicKeyInfo).
	AnnotationRelayAddress = "backup.restic-manager.io/relay-address"
	AnnotationRelayPin     = "backup.restic-manager.io/relay-pin"
)

// Annotations on the Secret with the controllers' signing keys, by which a person has a key replaced (docs/guides/signing-key.md).
const (
	// AnnotationRotateSigningKey asks for a new key: any new value does, for instance the date.
	AnnotationRotateSigningKey = "backup.restic-manager.io/rotate-signing-key"
	// AnnotationRetireSigningKey names the id of an old key that machines are no longer to be told to trust, without waiting for all of them.
	AnnotationRetireSigningKey = "backup.restic-manager.io/retire-signing-key"
	// AnnotationRemoveSigningKey names the id of a retired key that is to sign no longer, and be deleted, without waiting.
	AnnotationRemoveSigningKey = "backup.restic-manager.io/remove-signing-key"
	// AnnotationSigningKeyRotation is written by the controllers: how far the rotation is, as JSON.
	AnnotationSigningKeyRotation = "backup.restic-manager.io/signing-key-rotation"
)
