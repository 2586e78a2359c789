package kube

import (
	"errors"
	"fmt"
	"net"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Explain says what to do about an error of the API server or of the kubeconfig; others are returned as they are.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return explainPlain(err)
	}
	details := status.Status().Details
	switch {
	case apierrors.IsNotFound(err) && !served(err):
		return fmt.Errorf("this cluster does not serve %s: restic-manager is not installed in it, or the kubeconfig's context is another cluster's "+
			"(--context chooses one): %w", v1alpha1.GroupVersion, err)
	case apierrors.IsForbidden(err):
		if strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return err // the policies say what permission is needed
		}
		return fmt.Errorf("you may not do this: %w. %s", err, remedy(details))
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the cluster does not accept the login of your kubeconfig: log in again (kubectl get --raw /version shows whether it works): %w", err)
	}
	return err
}

// remedy names the role that holds a permission.
func remedy(details *metav1.StatusDetails) string {
	if details == nil {
		return ""
	}
	switch details.Kind {
	case "hosts":
		return "Writing Hosts takes the role admin in the namespace, reading them the role view"
	case "secrets":
		return "Reading Secrets takes the role edit in the namespace"
	}
	return "Logs, lists and jobs take the role edit in the namespace, what can be seen with kubectl get the role view"
}

func explainPlain(err error) error {
	var op *net.OpError
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("this cluster does not serve %s: restic-manager is not installed in it: %w", v1alpha1.GroupVersion, err)
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("the API server cannot be reached; check --context, and your network or VPN: %w", err)
	}
	return err
}
