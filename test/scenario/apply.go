package scenario

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/stack"
)

// overlay turns the shipped samples into objects for this run: what a team keeps in Git for its own environment.
var overlay = template.Must(template.New("").Parse(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- {{.Samples}}
sortOptions: {order: fifo}
patches:
- target: {kind: Host, name: web-1}
  patch: |
    - {op: replace, path: /spec/repository/url, value: "{{.URL}}"}
    - {op: add, path: /spec/repository/caBundle, value: {{printf "%q" .CA}}}
- target: {kind: Secret, name: web-1-repo}
  patch: |
    - {op: replace, path: /stringData/RESTIC_PASSWORD, value: "{{.Password}}"}
    - {op: replace, path: /stringData/RESTIC_REST_PASSWORD, value: "{{.RestPassword}}"}
- target: {kind: SourceGroup, name: etc-and-home}
  patch: |
    - {op: replace, path: /spec/includes, value: ["{{.Source}}"]}
    - {op: remove, path: /spec/excludes}
- target: {kind: Schedule, name: nightly}
  patch: |
    - {op: replace, path: /spec/cron, value: "* * * * *"}
    - {op: remove, path: /spec/jitter}
`))

const lockedGroup = `apiVersion: backup.restic-manager.io/v1alpha1
kind: SourceGroup
metadata: {name: %s, namespace: shop}
spec:
  hostRef: {name: web-1}
  includes: [%q]
`

// NewPassword returns a random password.
func NewPassword() (string, error) {
	raw := make([]byte, 24)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

func (r *Run) apply(ctx context.Context) (string, error) {
	dir := filepath.Join(r.Stack.Dir, "objects")
	passwords, err := WriteObjects(r.Stack, dir, r.Source)
	if err != nil {
		return "", err
	}
	r.Passwords = passwords
	if err := writeFile(filepath.Join(dir, "locked.yaml"), fmt.Sprintf(lockedGroup, Locked, r.lockedSource())); err != nil {
		return "", err
	}
	for _, args := range [][]string{{"apply", "-k", dir}, {"apply", "-f", filepath.Join(dir, "locked.yaml")}} {
		out, err := r.Stack.CP.Kubectl(ctx, args...)
		if err != nil {
			return "", err
		}
		r.Print("%s", indent(out))
	}
	return "the samples, with a kustomize overlay for this repository", nil
}

// WriteObjects makes a user at the stack's append-only rest-server, and writes a kustomize overlay over the shipped samples into dir: the Host backs
// up source into that user's repository, every minute. It returns the passwords by name.
func WriteObjects(s *stack.Stack, dir, source string) (map[string]string, error) {
	password, err := NewPassword()
	if err != nil {
		return nil, err
	}
	restPassword, err := NewPassword()
	if err != nil {
		return nil, err
	}
	if err := s.AppendOnly.SetUser(Host, restPassword); err != nil {
		return nil, err
	}
	root, err := env.Root()
	if err != nil {
		return nil, err
	}
	// kustomize takes bases by relative path only, and resolves symlinks first.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	samples, err := filepath.Rel(resolved, filepath.Join(root, "config", "samples"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.CA.CertFile)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	err = overlay.Execute(&text, map[string]string{
		"Samples": samples, "URL": s.AppendOnly.RepositoryURL(Host), "CA": string(ca),
		"Password": password, "RestPassword": restPassword, "Source": source,
	})
	if err != nil {
		return nil, err
	}
	passwords := map[string]string{"repository password": password, "rest-server password": restPassword}
	return passwords, writeFile(filepath.Join(dir, "kustomization.yaml"), text.String())
}

func (r *Run) enroll(ctx context.Context) (string, error) {
	agent, err := r.Stack.NewMachine(stack.Machine{
		Namespace: Namespace, Host: Host, Flags: []string{"--allow-restore=" + r.Restored, "--allow-hooks=dir:" + r.hookDir(), "--allow-commands=allow", "--allow-queries"}, Unprivileged: true,
	})
	if err != nil {
		return "", err
	}
	if r.EnrollLine, err = r.Stack.EnrollCommand(ctx, Namespace, Host); err != nil {
		return "", err
	}
	if err := r.Stack.RunEnroll(ctx, agent, r.EnrollLine); err != nil {
		return "", err
	}
	r.Agent = agent
	r.Print("%s", indent(agent.EnrollOutput))
	return "keys pinned in Host.spec.identity", nil
}

func (r *Run) connect(ctx context.Context) (string, error) {
	if err := r.Agent.Start(ctx); err != nil {
		return "", err
	}
	for _, condition := range []string{v1alpha1.ConditionConnected, v1alpha1.ConditionScheduleSetApplied, v1alpha1.ConditionRepositoryReady} {
		if err := r.hostCondition(ctx, condition, time.Minute); err != nil {
			return "", err
		}
	}
	return "Connected, ScheduleSetApplied and RepositoryReady are True", nil
}

func (r *Run) hostCondition(ctx context.Context, condition string, timeout time.Duration) error {
	return env.Poll(ctx, timeout, "Host condition "+condition, func(ctx context.Context) error {
		var host v1alpha1.Host
		if err := r.client.Get(ctx, client.ObjectKey{Namespace: Namespace, Name: Host}, &host); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(host.Status.Conditions, condition) {
			return fmt.Errorf("conditions are %v", describe(host.Status.Conditions))
		}
		return nil
	})
}

func indent(s string) string {
	return "   " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n   ")
}
