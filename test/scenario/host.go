package scenario

import (
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/stack"
)

// NewHost is a Host with a repository of its own at the stack's rest-server, and the Secret for it. Both are still to be created.
func NewHost(s *stack.Stack, namespace, name string) (*v1alpha1.Host, *corev1.Secret, error) {
	user := name + "." + namespace
	password, err := NewPassword()
	if err != nil {
		return nil, nil, err
	}
	if err := s.Rest.SetUser(user, password); err != nil {
		return nil, nil, err
	}
	ca, err := os.ReadFile(s.CA.CertFile)
	if err != nil {
		return nil, nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name + "-repo", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		StringData: map[string]string{"RESTIC_PASSWORD": password + "-repo", "RESTIC_REST_USERNAME": user, "RESTIC_REST_PASSWORD": password},
	}
	host := &v1alpha1.Host{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"role": name}},
		Spec: v1alpha1.HostSpec{Repository: v1alpha1.Repository{
			URL: s.Rest.RepositoryURL(user), CredentialsSecretRef: &v1alpha1.LocalReference{Name: secret.Name}, CABundle: string(ca),
		}},
	}
	return host, secret, nil
}
