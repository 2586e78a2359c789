// Package gitops holds the tests of how tools see the objects that they apply: the verdict of kstatus, by which Flux waits, and of the Lua in
// config/argocd, by which Argo CD does, in each state that an object can be in; kubectl wait; and who owns which field when Git and the controllers write
// the same object. The API server and the reconcilers are real; what machines and gateways report is written as they would.
package gitops
