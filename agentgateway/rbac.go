package agentgateway

// All that the gateway may do. It has no access to Secrets, and writes no spec.
//
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedulesets,verbs=get;list;watch
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=schedulesets/status,verbs=patch
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostjobs,verbs=get;list;watch
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostjobs/status,verbs=patch
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=hostqueries,verbs=get;list;watch
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts,verbs=get
// +kubebuilder:rbac:groups=backup.restic-manager.io,resources=hosts/status,verbs=patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=restic-manager-system,verbs=get;create;update;delete
