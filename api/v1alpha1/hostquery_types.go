package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HostQueryKind is what a HostQuery asks for.
// +kubebuilder:validation:Enum=Log;Snapshots;Files;Find;Diff;Diagnosis;Content
type HostQueryKind string

// The kinds of HostQueries.
const (
	// QueryLog is the log of a job.
	QueryLog HostQueryKind = "Log"
	// QuerySnapshots lists snapshots.
	QuerySnapshots HostQueryKind = "Snapshots"
	// QueryFiles lists what a snapshot holds.
	QueryFiles HostQueryKind = "Files"
	// QueryFind looks for files in snapshots.
	QueryFind HostQueryKind = "Find"
	// QueryDiff compares two snapshots.
	QueryDiff HostQueryKind = "Diff"
	// QueryDiagnosis is what the machine says of itself.
	QueryDiagnosis HostQueryKind = "Diagnosis"
	// QueryContent is a file, or a folder as an archive. It takes the permission create on hostqueries/content.
	QueryContent HostQueryKind = "Content"
)

// Bytes have a pattern in place of the format byte: the rule that compares them would read that as another base64, and refuse + and /. With neither of both, one object
// that does not decode would end every watch.

// HostQuerySpec is one question to one machine. It cannot be changed.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a HostQuery cannot be changed: create another one"
type HostQuerySpec struct {
	// HostRef names the Host that is asked.
	HostRef LocalReference `json:"hostRef"`
	// Kind is what is asked for.
	Kind HostQueryKind `json:"kind"`
	// Parameters say which job, snapshot or file. They are sealed by the requester to the machine's key and bound to publicKey, so that nobody between the two
	// reads a file name.
	// +optional
	// +kubebuilder:validation:MaxLength=21848
	// +kubebuilder:validation:Format=""
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`
	Parameters []byte `json:"parameters,omitempty"`
	// PublicKey is an X25519 key that the requester made for this query; the answer is sealed to it.
	// +kubebuilder:validation:MinLength=44
	// +kubebuilder:validation:MaxLength=44
	// +kubebuilder:validation:Format=""
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{43}=$`
	PublicKey []byte `json:"publicKey"`
	// StreamSecretHash is the hex SHA-256 of 32 random bytes; who shows these to the gateway collects the answer.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=64
	StreamSecretHash string `json:"streamSecretHash"`
	// TTLSeconds after its creation the query is void: an answer that still runs is cut off, and the object is deleted. Ten minutes by default.
	// +optional
	// +kubebuilder:default=600
	// +kubebuilder:validation:Minimum=30
	// +kubebuilder:validation:Maximum=3600
	TTLSeconds int32 `json:"ttlSeconds,omitempty"`
}

// HostQueryStatus is what the controllers made of the query. The answer itself is never stored.
type HostQueryStatus struct {
	// ObservedGeneration is the generation that the status speaks of.
	// +optional
	// +kubebuilder:default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Ready (the query is signed and its answer can be collected), Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Command is the signed query, as the machine gets it.
	// +optional
	Command *SignedDocument `json:"command,omitempty"`
	// ExpirationTime is when the query is void.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`
	// Gateway is where the answer is collected.
	// +optional
	Gateway *GatewayEndpoint `json:"gateway,omitempty"`
}

// GatewayEndpoint is where the gateway is reached.
type GatewayEndpoint struct {
	// URL is https://host[:port].
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// TLSPins pin its certificate chain ("sha256:<base64>" of a SubjectPublicKeyInfo). Empty: the trust store of whoever connects.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=128
	TLSPins []string `json:"tlsPins,omitempty"`
}

// HostQuery asks one machine for something that is not stored in the cluster: a log, snapshots, files. It is made by kubectl restic, lives for minutes, and
// holds neither the question in clear nor the answer.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=hostqueries,shortName=rquery,categories=restic
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.hostRef.name`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expirationTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type HostQuery struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec HostQuerySpec `json:"spec"`
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status HostQueryStatus `json:"status,omitempty"`
}

// HostQueryList is a list of HostQueries.
// +kubebuilder:object:root=true
type HostQueryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HostQuery `json:"items"`
}
