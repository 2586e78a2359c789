package resticenv

import (
	"strings"
	"testing"
)

func TestBackend(t *testing.T) {
	tests := []struct{ name, url, want string }{
		{"a REST server", "rest:https://backup.example.com/web-1", "rest"},
		{"S3", "s3:https://s3.example.com/bucket", "s3"},
		{"a path", "/srv/restic", Local},
		{"a path with its backend", "local:/srv/restic", Local},
		{"no backend at all is an error", "backup.example.com", ""},
		{"a backend that restic does not have is an error", "ftp:host/path", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Backend(tt.url)
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("Backend(%q) = %q, %v; want %q", tt.url, got, err, tt.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	const secret = "hunter2\x00"
	tests := []struct {
		name, backend string
		with          []string
		want          string // part of the error, empty for none
	}{
		{"the password alone", Local, []string{Password}, ""},
		{"what the backend needs", "rest", []string{Password, "RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"}, ""},
		{"rclone's own for rclone", Rclone, []string{Password, "RCLONE_CONFIG_X_TYPE"}, ""},
		{"the password is missing", "rest", []string{"RESTIC_REST_USERNAME"}, "no RESTIC_PASSWORD"},
		{"another backend's variable", "rest", []string{Password, "AWS_ACCESS_KEY_ID"}, `"AWS_ACCESS_KEY_ID", which may not`},
		{"a command that would run as root", "rest", []string{Password, "RESTIC_PASSWORD_COMMAND"}, "RESTIC_PASSWORD_COMMAND"},
		{"a path", "s3", []string{Password, "PATH"}, `"PATH"`},
		{"rclone's for another backend", "s3", []string{Password, "RCLONE_CONFIG"}, "for rclone: repositories only"},
		{"an unknown backend", "ftp", []string{Password}, "unknown backend"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			environment := map[string]string{}
			for _, name := range tt.with {
				environment[name] = "hunter2"
			}
			err := Check(tt.backend, environment)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check = %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds a value: %v", err)
			}
		})
	}
	if err := Check("rest", map[string]string{Password: secret}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a NUL byte: %v", err)
	}
}
