package credentials_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
	"github.com/restic-manager/restic-manager/controllers/credentials"
)

const password = "correct horse battery staple"

func secret(change ...func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1-repo", Labels: map[string]string{v1alpha1.LabelCredentials: "true"}},
		Data:       map[string][]byte{"RESTIC_PASSWORD": []byte(password), "RESTIC_REST_USERNAME": []byte("web-1")},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func holding(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
}

func without(key string) func(*corev1.Secret) { return func(s *corev1.Secret) { delete(s.Data, key) } }

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		secret  *corev1.Secret
		reason  string
		says    []string
		lasting bool
	}{
		{"a password and the backend's variables are fine", secret(), "", nil, false},
		{"a Secret without the label is not read", secret(func(s *corev1.Secret) { s.Labels = nil }), "CredentialsNotLabeled",
			[]string{"kubectl -n shop label secret web-1-repo backup.restic-manager.io/credentials=true"}, false},
		{"nor is one whose label says something else", secret(func(s *corev1.Secret) { s.Labels[v1alpha1.LabelCredentials] = "yes" }), "CredentialsNotLabeled", nil, false},
		{"a command that would run as root is named", secret(holding("RESTIC_PASSWORD_COMMAND", "cat /etc/shadow")), "CredentialsInvalid",
			[]string{"web-1-repo", "RESTIC_PASSWORD_COMMAND", "remove it"}, true},
		{"another backend's variable is named", secret(holding("AWS_ACCESS_KEY_ID", "x")), "CredentialsInvalid", []string{"AWS_ACCESS_KEY_ID"}, true},
		{"a missing password is named", secret(without("RESTIC_PASSWORD")), "CredentialsInvalid", []string{"no RESTIC_PASSWORD"}, true},
		{"so is an empty one", secret(holding("RESTIC_PASSWORD", "")), "CredentialsInvalid", []string{"no RESTIC_PASSWORD"}, true},
		{"a value that is not text is told by its key", secret(holding("RESTIC_PASSWORD", "\xff"+password)), "CredentialsInvalid", []string{"RESTIC_PASSWORD"}, true},
		{"a Secret that is too big is told", secret(holding("RESTIC_REST_PASSWORD", strings.Repeat("x", 40<<10))), "CredentialsInvalid", []string{"at most 32768"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := credentials.Judge(tt.secret, "rest")
			checkProblem(t, err, tt.reason, tt.says, tt.lasting)
		})
	}
}

func checkProblem(t *testing.T, err error, reason string, says []string, lasting bool) {
	t.Helper()
	if reason == "" {
		if err != nil {
			t.Errorf("error: %v", err)
		}
		return
	}
	var problem *credentials.Problem
	if !errors.As(err, &problem) || problem.Reason != reason || problem.Lasting != lasting {
		t.Fatalf("error %#v, want a problem %s, lasting %v", err, reason, lasting)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("the error holds the password: %v", err)
	}
}

func TestRead(t *testing.T) {
	unlabelled := secret(func(s *corev1.Secret) { s.Labels = nil })
	tests := []struct {
		name          string
		cached, lives []client.Object
		url, reason   string
	}{
		{"a labelled Secret", []client.Object{secret()}, nil, "rest:https://b.example.com/x", ""},
		{"no Secret at all", nil, nil, "rest:https://b.example.com/x", "CredentialsMissing"},
		{"a Secret that the cache does not have for want of the label", nil, []client.Object{unlabelled}, "rest:https://b.example.com/x", "CredentialsNotLabeled"},
		{"a Secret that the cache does not have yet", nil, []client.Object{secret()}, "rest:https://b.example.com/x", "CredentialsMissing"},
		{"a URL without a backend", []client.Object{secret()}, nil, "backup.example.com", "Invalid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reader := credentials.Reader{
				Cache: fake.NewClientBuilder().WithObjects(tt.cached...).Build(),
				Live:  fake.NewClientBuilder().WithObjects(tt.lives...).Build(),
			}
			_, err := reader.Read(context.Background(), "shop", "web-1-repo", tt.url)
			checkProblem(t, err, tt.reason, nil, tt.reason == "Invalid")
		})
	}
}

func TestPlainDoesNotShowItself(t *testing.T) {
	plain, err := credentials.Judge(secret(), "rest")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, value := range []any{plain, &plain, struct{ P any }{plain}} {
			if out := fmt.Sprintf(verb, value); strings.Contains(out, "horse") || strings.Contains(out, "web-1") {
				t.Errorf("%s shows %s", verb, out)
			}
		}
	}
	if out, err := json.Marshal(plain); err == nil {
		t.Errorf("marshals to %s", out)
	}
}

func TestDigest(t *testing.T) {
	judge := func(change ...func(*corev1.Secret)) credentials.Plain {
		plain, err := credentials.Judge(secret(change...), "rest")
		if err != nil {
			t.Fatal(err)
		}
		return plain
	}
	key := []byte("k")
	first := judge().Digest(key)
	if judge().Digest(key) != first {
		t.Error("the same credential has another digest")
	}
	for name, other := range map[string]string{
		"another key":       judge().Digest([]byte("l")),
		"another password":  judge(holding("RESTIC_PASSWORD", "x")).Digest(key),
		"a variable more":   judge(holding("RESTIC_REST_PASSWORD", "x")).Digest(key),
		"a variable fewer":  judge(without("RESTIC_REST_USERNAME")).Digest(key),
		"moved line breaks": judge(holding("RESTIC_PASSWORD", password+"\n")).Digest(key),
	} {
		if other == first {
			t.Errorf("%s: the same digest", name)
		}
	}
}

func TestSealedForTheMachineAlone(t *testing.T) {
	plain, err := credentials.Judge(secret(), "rest")
	if err != nil {
		t.Fatal(err)
	}
	private, err := seal.NewSealingKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := seal.SealingPublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	host := wire.HostRef{Namespace: "shop", Name: "web-1"}
	identity := wire.Identity{SigningKey: make([]byte, 32), SealingKey: public}
	sealed, err := plain.Seal(host, identity, wire.CredentialRepository)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.OpenCredential(host, identity.Hash(), private, sealed)
	if err != nil || opened.Environment["RESTIC_PASSWORD"] != password || len(opened.Environment) != 2 {
		t.Errorf("opened %d variables, %v", len(opened.Environment), err)
	}
}
