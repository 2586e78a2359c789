package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

// call runs the program in this process.
func call(t *testing.T, in string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = execute(t.Context(), args, strings.NewReader(in), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestWrongCommandLinesAreToldWithTheirOwnCode(t *testing.T) {
	folder := t.TempDir()
	broken := filepath.Join(folder, "agent.yaml")
	if err := os.WriteFile(broken, []byte("host: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		in   string
		args []string
		code int
		says string
	}{
		{"an unknown flag", "", []string{"run", "--colour"}, exitUsage, "see --help"},
		{"an argument too many", "", []string{"run", "now"}, exitUsage, `unexpected argument "now"`},
		{"an unknown command", "", []string{"fly"}, exitUsage, `unknown command "fly"`},
		{"an unknown log format", "", []string{"run", "--log-format", "xml"}, exitUsage, "want text, json or auto"},
		{"an unknown log level", "", []string{"run", "--log-level", "loud"}, exitUsage, "want debug, info"},
		{"waits that are none", "", []string{"run", "--retry-backoff", "1s,soon"}, exitUsage, `"soon" is no duration`},
		{"waits of no time", "", []string{"run", "--retry-backoff", "0s"}, exitUsage, "no duration above 0"},
		{"no agent.yaml", "", []string{"run", "--config", "/nonexistent/agent.yaml"}, exitConfig, "not enrolled yet"},
		{"an agent.yaml that is not YAML", "", []string{"run", "--config", broken}, exitConfig, "this is not YAML"},
		{"status without agent.yaml", "", []string{"status", "--config", "/nonexistent/agent.yaml"}, exitConfig, "not enrolled yet"},
		{"no token", "", []string{"enroll"}, exitUsage, "Secret <host>-enrollment"},
		{"a consent that nobody knows", "", []string{"enroll", "--token", "-", "--allow-hooks", "yes"}, exitUsage, "want deny, allow or dir:"},
		{"a consent for a relative folder", "", []string{"enroll", "--token", "-", "--allow-commands", "dir:hooks"}, exitUsage, "not an absolute path"},
		{"an empty standard input", "\n", []string{"enroll", "--token", "-"}, exitUsage, "no token on standard input"},
		{"two tokens", "", []string{"enroll", "--token", "a", "--token-file", "b"}, exitUsage, "exclude each other"},
		{"a token file that is not there", "", []string{"enroll", "--token-file", "/nonexistent"}, exitUsage, "no such file"},
		{"a damaged token", "rmt1_abc", []string{"enroll", "--token", "-"}, exitRefused, "damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, _, errOut := call(t, tt.in, tt.args...)
			if code != tt.code || !strings.Contains(errOut, tt.says) {
				t.Errorf("exit %d %q, want %d and %q", code, errOut, tt.code, tt.says)
			}
			if strings.Contains(errOut, "rmt1_") {
				t.Errorf("the token is shown: %q", errOut)
			}
		})
	}
}

func TestTheVersionNamesTheProtocol(t *testing.T) {
	for _, arg := range []string{"version", "--version"} {
		if code, out, _ := call(t, "", arg); code != 0 || !strings.Contains(out, "protocol 1") {
			t.Errorf("%s: exit %d: %q", arg, code, out)
		}
	}
}

// approving is a gateway that approves everything, and a token for it.
func approving(t *testing.T) (word string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := seal.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request wire.EnrolRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		document, err := wire.EncodeDocument(&wire.EnrolVerdict{Label: wire.EnrolVerdictLabel, Host: request.Host, HostUID: request.HostUID,
			TokenIDHash: wire.TokenIDHash(request.TokenID), IdentityHash: request.Identity.Hash(), Approved: true, Reason: wire.EnrolApproved, Time: time.Now()})
		if err != nil {
			t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(wire.EnrolResponse{Verdict: document, Signatures: signer.Sign(document)})
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	token := wire.Token{URL: server.URL, Host: wire.HostRef{Namespace: "shop", Name: "web-1"}, HostUID: "uid", ID: "id", Secret: make([]byte, wire.TokenSecretSize),
		NotAfter: time.Now().Add(time.Hour), SigningKeys: signer.PublicKeys(), SerialFloor: 1, TLSPins: []string{tlspin.Pin(server.Certificate())}}
	if word, err = token.Encode(); err != nil {
		t.Fatal(err)
	}
	return word
}

func TestEnrolWritesTheConfigurationOnce(t *testing.T) {
	word, folder := approving(t), t.TempDir()
	path, state := filepath.Join(folder, "etc/agent.yaml"), filepath.Join(folder, "state")
	args := []string{"enroll", "--token", "-", "--config", path, "--state-dir", state, "--allow-hooks", "dir:/etc/restic-manager/hooks,/opt/hooks", "--allow-commands=allow", "--allow-restore", "/srv", "--allow-restore", "/home"}
	code, out, errOut := call(t, word+"\n", args...)
	if code != 0 || !strings.Contains(out, "enrolled as Host shop/web-1") || !strings.Contains(out, "run --config "+path) {
		t.Fatalf("exit %d: %q %q", code, out, errOut)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Allow.Hooks.String() != "dir:/etc/restic-manager/hooks,/opt/hooks" || !c.Allow.Commands.Allow || c.Allow.Rclone.Granted() || len(c.Allow.Restore) != 2 || c.StateDir != state || c.Ref().Name != "web-1" {
		t.Errorf("configuration is %+v", c)
	}
	if left, err := filepath.Glob(filepath.Join(folder, "etc/*")); err != nil || len(left) != 1 {
		t.Errorf("beside agent.yaml there is %v, %v", left, err)
	}

	code, _, errOut = call(t, word, args...)
	if code != exitRefused || !strings.Contains(errOut, "already, as Host shop/web-1") {
		t.Errorf("the second time: exit %d %q", code, errOut)
	}
	if code, _, errOut = call(t, word, append(args, "--force")...); code != 0 {
		t.Errorf("with --force: exit %d %q", code, errOut)
	}

	if code, _, errOut = call(t, "", "status", "--config", path); code == 0 || !strings.Contains(errOut, "never run") {
		t.Errorf("status before the first run: exit %d %q", code, errOut)
	}
}

func TestTheTokenComesFromWhereItWasPut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(tokenVariable, "from-environment")
	for _, tt := range []struct{ name, token, file, want string }{
		{"argument", "from-argument", "", "from-argument"},
		{"standard input", "-", "", "from-stdin"},
		{"standard input as a file", "", "-", "from-stdin"},
		{"file", "", file, "from-file"},
		{"environment", "", "", "from-environment"},
	} {
		got, err := readToken(strings.NewReader("from-stdin"), tt.token, tt.file)
		if err != nil || strings.TrimSpace(got) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	if os.Getenv(tokenVariable) != "" {
		t.Error("the token stays in the environment")
	}
}

func TestAFolderThatCannotBeWrittenIsToldBeforeTheGatewayIsAsked(t *testing.T) {
	word, folder := approving(t), t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := call(t, word, "enroll", "--token", "-", "--config", filepath.Join(file, "agent.yaml"), "--state-dir", filepath.Join(folder, "state"))
	if code != exitCannotWrite || !strings.Contains(errOut, "the token is still good") {
		t.Errorf("exit %d: %q", code, errOut)
	}
}

func TestTheFlagsOfTestsAreHidden(t *testing.T) {
	code, out, _ := call(t, "", "run", "--help")
	if code != 0 || strings.Contains(out, "retry-") || !strings.Contains(out, "--log-level") {
		t.Errorf("exit %d: %s", code, out)
	}
	var d durations
	if err := d.Set("1s,2m"); err != nil || len(d) != 2 || d.String() != "1s,2m0s" {
		t.Errorf("durations are %v, %v", d, err)
	}
}
