package doctor

import (
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Facts are all that Judge looks at.
type Facts struct {
	Now       time.Time
	Namespace string
	// Name is the host that was asked for.
	Name string

	// Server is why the API server cannot be asked at all.
	Server error
	// Served says that the cluster knows our kinds; Kinds that are missing are named.
	Served       bool
	MissingKinds []string

	// Host is nil when there is none, or HostErr when it could not be read.
	Host    *v1alpha1.Host
	HostErr error
	// Near are names that may have been meant.
	Near string

	// Credentials is the Secret with the repository's password.
	Credentials SecretFact

	// Set is nil when there is none.
	Set    *v1alpha1.ScheduleSet
	SetErr error
	// Groups of the namespace.
	Groups []v1alpha1.SourceGroup

	// Gateway is how the gateway answered, known once a query was signed.
	Gateway GatewayFact
	// Diagnosis is what the machine says of itself; Asked that it was asked, AskErr why it did not answer.
	Asked     bool
	AskErr    error
	Diagnosis *wire.DiagnosisRecord
	// Received is when the diagnosis came, RoundTrip how long it took: the clocks cannot be compared more exactly.
	Received  time.Time
	RoundTrip time.Duration
}

// SecretFact is what is known of a Secret. Its content is never kept.
type SecretFact struct {
	Name string
	// Readable says that the person may read it; only then the rest counts.
	Readable, Exists, Labelled, HasPassword bool
}

// GatewayFact is how the gateway answered.
type GatewayFact struct {
	URL string
	// Dialled says that it was tried, Err why that failed.
	Dialled bool
	Err     error
	// NotAfter of its certificate.
	NotAfter time.Time
}
