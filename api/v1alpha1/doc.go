// Package v1alpha1 is the API of restic-manager: backups of machines outside the cluster as Kubernetes objects.
//
// People write Host, SourceGroup, Schedule, RepoMaintenance and HostJob; the controllers alone write ScheduleSet. Every status field
// has one writer: conditions and what is computed from the spec belong to the controllers, what a machine reported belongs to the
// gateway; each field's doc says which. Types here depend on apimachinery alone, so that anyone can import them cheaply.
//
// Lists that people write are maps where their elements have names, so that several may apply parts of them. Those that one program writes whole are atomic: as
// maps they would cost managed fields for each element, half of what etcd holds of a Host.
//
// +kubebuilder:object:generate=true
// +groupName=backup.restic-manager.io
package v1alpha1
