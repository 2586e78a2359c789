package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ScheduleSetSpec is what one machine is to run. Written by the controllers alone.
type ScheduleSetSpec struct {
	// Host is whom the set is for, and by which keys the gateway knows it.
	Host ScheduleSetHost `json:"host"`
	// Tombstone says that the Host was removed: the machine is told to stop. The set is deleted once it knows.
	// +optional
	Tombstone bool `json:"tombstone,omitempty"`
	// Revision names the content; equal inputs give an equal revision.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision"`
	// Serial only grows.
	// +kubebuilder:validation:Minimum=1
	Serial int64 `json:"serial"`
	// Groups and Schedules tell people and the gateway what the bundle holds. The agent obeys the bundle alone.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Groups []ScheduleSetGroup `json:"groups,omitempty"`
	// Schedules of the bundle.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Schedules []ScheduleSetSchedule `json:"schedules,omitempty"`
	// Bundle is the exact signed text: canonical JSON.
	// +kubebuilder:validation:MaxLength=524288
	Bundle string `json:"bundle"`
	// Signatures by the controllers' keys over the exact bytes of the bundle.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Signatures []Signature `json:"signatures"`
	// Credentials are sealed to the machine; their hashes are in the bundle.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Credentials []SealedCredential `json:"credentials,omitempty"`
}

// ScheduleSetHost says whom a set is for.
type ScheduleSetHost struct {
	// Name of the Host.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// UID of the Host.
	// +kubebuilder:validation:MaxLength=253
	UID string `json:"uid"`
	// Identity is the one that was pinned when the set was made.
	Identity HostIdentity `json:"identity"`
	// Suspended says that all scheduled work of the host is stopped.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
	// MintedSecretName is the Secret with the password that was made for the Host, if it uses one. When the Host is removed, its machine keeps its
	// copy unless this Secret says that another one is kept outside the cluster.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	MintedSecretName string `json:"mintedSecretName,omitempty"`
}

// ScheduleSetGroup is a source group in the bundle.
type ScheduleSetGroup struct {
	// Name of the SourceGroup.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Generation of the SourceGroup.
	Generation int64 `json:"generation"`
	// Serial of the first set that held the group as this one does: a machine with that set in force, or a newer one, has the group, whatever else has changed since.
	// Absent, nothing is known of earlier sets.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Serial int64 `json:"serial,omitempty"`
}

// ScheduleSetSchedule is a schedule in the bundle.
type ScheduleSetSchedule struct {
	// Name of the Schedule.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Generation of the Schedule.
	Generation int64 `json:"generation"`
	// Serial of the first set that held the schedule as this one does, as that of a group.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Serial int64 `json:"serial,omitempty"`
	// Suspended says that the schedule does not fire.
	// +optional
	Suspended bool `json:"suspended,omitempty"`
	// SourceGroups that it fires on this host.
	// +listType=set
	// +kubebuilder:validation:MaxItems=100
	SourceGroups []string `json:"sourceGroups"`
}

// SealedCredential is a credential that only the machine can open.
type SealedCredential struct {
	// Name by which the bundle refers to it.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Sealed is the HPKE ciphertext, base64.
	// +kubebuilder:validation:MaxLength=131072
	Sealed string `json:"sealed"`
}

// ScheduleSetStatus is written by the gateway.
type ScheduleSetStatus struct {
	// Connection is the newest session of the machine.
	// +optional
	Connection *Connection `json:"connection,omitempty"`
	// Agent is what the machine said of itself when it connected. The controllers copy it to the Host.
	// +optional
	Agent *AgentStatus `json:"agent,omitempty"`
	// OfferedRevision was sent to the agent last.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	OfferedRevision string `json:"offeredRevision,omitempty"`
	// AppliedRevision is in force on the machine.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	AppliedRevision string `json:"appliedRevision,omitempty"`
	// AppliedSerial is that of the set in force, 0 when it is not known: what has a greater one waits for the machine.
	// +optional
	AppliedSerial int64 `json:"appliedSerial,omitempty"`
	// AppliedTime is when the agent acked it.
	// +optional
	AppliedTime *metav1.Time `json:"appliedTime,omitempty"`
	// Refusal is set when the agent refused a set; the one in force stays in force.
	// +optional
	Refusal *Refusal `json:"refusal,omitempty"`
	// NotAllowed lists what of the applied set the machine's owner does not allow (agent.yaml): the backups of these groups fail.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	NotAllowed []NotAllowed `json:"notAllowed,omitempty"`
	// CommandRefusal is the newest command that the agent refused.
	// +optional
	CommandRefusal *Refusal `json:"commandRefusal,omitempty"`
	// Duplicate is set when two living machines were seen with the same keys.
	// +optional
	Duplicate *DuplicateIdentity `json:"duplicate,omitempty"`
}

// NotAllowed is one thing that a machine's owner does not allow.
type NotAllowed struct {
	// SourceGroup that it concerns; empty for the host's own hooks, which concern every group.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SourceGroup string `json:"sourceGroup,omitempty"`
	// What is the name of the consent in agent.yaml: hooks or commands.
	// +kubebuilder:validation:MaxLength=253
	What string `json:"what"`
	// Message says what is refused and how the owner can allow it.
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message"`
}

// Connection is a session of an agent.
type Connection struct {
	// Gateway is the instance id of the replica that holds it; its Lease is restic-manager-gateway-<id>.
	// +kubebuilder:validation:MaxLength=253
	Gateway string `json:"gateway"`
	// Session is the machine's session counter; the greater wins.
	Session int64 `json:"session"`
	// Process is random per start of the agent.
	// +kubebuilder:validation:MaxLength=253
	Process string `json:"process"`
	// PreviousProcess is the one that this session took over from.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PreviousProcess string `json:"previousProcess,omitempty"`
	// ConnectedTime is when the session began.
	ConnectedTime metav1.Time `json:"connectedTime"`
	// DisconnectedTime is set when the session ended and none followed on this replica.
	// +optional
	DisconnectedTime *metav1.Time `json:"disconnectedTime,omitempty"`
}

// Refusal says why an agent refused a set or a command.
type Refusal struct {
	// Revision of the set that was refused.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision,omitempty"`
	// JobID of the command that was refused.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	JobID string `json:"jobID,omitempty"`
	// Reason is one of BadSignature, WrongHost, WrongIdentity, OlderSerial, BadCredential, Invalid, Expired, AlreadyRun,
	// NotAllowedByMachine, StorageFailed.
	// +kubebuilder:validation:MaxLength=253
	Reason string `json:"reason"`
	// Message says it in a sentence.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Message string `json:"message,omitempty"`
	// Time of the refusal.
	Time metav1.Time `json:"time"`
}

// DuplicateIdentity tells of two machines with the same keys.
type DuplicateIdentity struct {
	// Process of the machine that was turned away.
	// +kubebuilder:validation:MaxLength=253
	Process string `json:"process"`
	// Hostname of the machine that was turned away.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Hostname string `json:"hostname,omitempty"`
	// LastSeen is when it was turned away last.
	LastSeen metav1.Time `json:"lastSeen"`
}

// ScheduleSet is what one machine runs: signed by the controllers, delivered by the gateway. Do not edit.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=rset,categories=restic
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="Applied",type=string,JSONPath=`.status.appliedRevision`
// +kubebuilder:printcolumn:name="Tombstone",type=boolean,JSONPath=`.spec.tombstone`
// +kubebuilder:printcolumn:name="Gateway",type=string,JSONPath=`.status.connection.gateway`
// +kubebuilder:printcolumn:name="Refusal",type=string,JSONPath=`.status.refusal.reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ScheduleSet struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Spec is what the machine is to run.
	Spec ScheduleSetSpec `json:"spec"`
	// Status is what the machine runs.
	// +optional
	Status ScheduleSetStatus `json:"status,omitempty"`
}

// ScheduleSetList is a list of ScheduleSets.
// +kubebuilder:object:root=true
type ScheduleSetList struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ScheduleSet `json:"items"`
}
