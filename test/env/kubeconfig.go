package env

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

var getOptions = metav1.GetOptions{}

const serviceAccountTokenLifetime = 24 * time.Hour

func (c *ControlPlane) writeKubeconfigs() error {
	admin := &clientcmdapi.AuthInfo{ClientCertificate: c.pki.admin.CertFile, ClientKey: c.pki.admin.KeyFile}
	if err := c.writeKubeconfig(c.AdminKubeconfig, "admin", "default", admin); err != nil {
		return err
	}
	manager := &clientcmdapi.AuthInfo{
		ClientCertificate: c.pki.controllerManager.CertFile,
		ClientKey:         c.pki.controllerManager.KeyFile,
	}
	return c.writeKubeconfig(filepath.Join(c.Dir, "pki", "controller-manager.kubeconfig"), "controller-manager", "default", manager)
}

func (c *ControlPlane) writeKubeconfig(path, user, namespace string, auth *clientcmdapi.AuthInfo) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["restic-manager"] = &clientcmdapi.Cluster{Server: c.URL(), CertificateAuthority: c.pki.ca.CertFile}
	config.AuthInfos[user] = auth
	config.Contexts["default"] = &clientcmdapi.Context{Cluster: "restic-manager", AuthInfo: user, Namespace: namespace}
	config.CurrentContext = "default"
	// WriteToFile makes the file with mode 0600.
	return clientcmd.WriteToFile(*config, path)
}

// ServiceAccountConfig returns a client configuration that acts as a service account which must exist, and the path of a
// kubeconfig (0600) for a child process. The token is bound to nothing and lasts 24 h.
func (c *ControlPlane) ServiceAccountConfig(ctx context.Context, namespace, name string) (*rest.Config, string, error) {
	lifetime := int64(serviceAccountTokenLifetime.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime}}
	token, err := c.Client().CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("requesting a token for service account %s/%s: %w", namespace, name, err)
	}
	path := filepath.Join(c.Dir, "kubeconfigs", namespace+"."+name+".kubeconfig")
	auth := &clientcmdapi.AuthInfo{Token: token.Status.Token}
	if err := c.writeKubeconfig(path, name, namespace, auth); err != nil {
		return nil, "", err
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, "", err
	}
	return config, path, nil
}

// Kubectl runs kubectl as admin and returns its stdout. An error holds its stderr.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlAs(ctx, c.AdminKubeconfig, args...)
}

// KubectlAs is Kubectl with another kubeconfig.
func (c *ControlPlane) KubectlAs(ctx context.Context, kubeconfig string, args ...string) (string, error) {
	return c.KubectlInput(ctx, kubeconfig, "", args...)
}

// KubectlInput is KubectlAs with something on stdin, for "apply -f -".
func (c *ControlPlane) KubectlInput(ctx context.Context, kubeconfig, stdin string, args ...string) (string, error) {
	cmd, err := c.kubectlCommand(ctx, kubeconfig, stdin, args)
	if err != nil {
		return "", err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// KubectlSays runs kubectl as admin and returns all that a person reads, warnings and errors too. The error is its exit status.
func (c *ControlPlane) KubectlSays(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd, err := c.kubectlCommand(ctx, c.AdminKubeconfig, stdin, args)
	if err != nil {
		return "", err
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *ControlPlane) kubectlCommand(ctx context.Context, kubeconfig, stdin string, args []string) (*exec.Cmd, error) {
	path, err := Binary(c.options.BinDir, Kubectl)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	// HOME holds kubectl's discovery cache, which must not outlive the control plane.
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + c.Dir, "PATH=" + os.Getenv("PATH")}
	cmd.Stdin = strings.NewReader(stdin)
	return cmd, nil
}

// InstallCRDs applies the CustomResourceDefinitions in a file or a folder and waits until the API server serves them.
func (c *ControlPlane) InstallCRDs(ctx context.Context, path string) error {
	c.logf("installing the CRDs in %s", path)
	if _, err := c.Kubectl(ctx, "apply", "--server-side", "-f", path); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", path)
	return err
}

// NewNamespace makes a namespace for one test, with a name that begins with prefix, and asks for its deletion when the
// test ends.
func (c *ControlPlane) NewNamespace(t TB, prefix string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
	namespaces := c.Client().CoreV1().Namespaces()
	created, err := namespaces.Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	t.Cleanup(func() {
		// The test's own context has ended by now. The API server may be down at the end of an outage test.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := namespaces.Delete(ctx, created.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Logf("deleting namespace %s: %v", created.Name, err)
		}
	})
	return created.Name
}
