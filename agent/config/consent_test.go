package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestConsentsAreReadAsTheyAreWritten(t *testing.T) {
	for _, tt := range []struct {
		name, yaml, flag string
		want             Consent
		granted          bool
	}{
		{"deny", "deny\n", "deny", Deny, false},
		{"allow", "allow\n", "allow", Grant, true},
		{"one folder", "allowDirs:\n    - /a\n", "dir:/a", Consent{AllowDirs: []string{"/a"}}, true},
		{"two folders", "allowDirs:\n    - /a\n    - /b c\n", "dir:/a,/b c", Consent{AllowDirs: []string{"/a", "/b c"}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var read Consent
			if err := yaml.Unmarshal([]byte(tt.yaml), &read); err != nil {
				t.Fatal(err)
			}
			parsed, err := ParseConsent(tt.flag)
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range []Consent{read, parsed} {
				if diff := cmp.Diff(tt.want, got); diff != "" || got.Granted() != tt.granted {
					t.Errorf("consent is granted=%v, want %v (-want +got):\n%s", got.Granted(), tt.granted, diff)
				}
			}
			written, err := yaml.Marshal(tt.want)
			if err != nil || string(written) != tt.yaml || tt.want.String() != tt.flag {
				t.Errorf("written as %q and %q, %v", written, tt.want, err)
			}
		})
	}
	for _, text := range []string{"", "yes", "ALLOW", "dir:", "dir:/a,", "dir:a", "/a"} {
		if c, err := ParseConsent(text); err == nil {
			t.Errorf("%q was read as %v", text, c)
		}
	}
}

func TestWhatAConsentCovers(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	for _, dir := range []string{in("hooks", "sub"), in("hooks-of-others"), in("elsewhere")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{in("hooks", "a.sh"), in("hooks", "sub", "b.sh"), in("hooks-of-others", "c.sh"), in("elsewhere", "d.sh")} {
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{in("link-to-hooks"): in("hooks"), in("hooks", "out.sh"): in("elsewhere", "d.sh"), in("elsewhere", "in.sh"): in("hooks", "a.sh")} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	dirs := Consent{AllowDirs: []string{"/nonexistent", in("link-to-hooks")}}
	for _, tt := range []struct {
		name    string
		consent Consent
		command []string
		says    []string // empty: allowed
	}{
		{"nothing is covered by deny", Deny, []string{in("hooks", "a.sh")}, []string{"does not allow hooks", in("hooks", "a.sh"), "hooks: allow", "agent.yaml"}},
		{"everything is covered by allow", Grant, []string{"/usr/bin/anything", "x"}, nil},
		{"a relative path is never covered", Grant, []string{"pg_dump"}, []string{`"pg_dump" is not an absolute path`}},
		{"an empty command neither", Grant, nil, []string{"no command"}},
		{"a program in the folder is, whatever its arguments", dirs, []string{in("hooks", "a.sh"), "/etc/passwd"}, nil},
		{"one below it too", dirs, []string{in("hooks", "sub", "b.sh")}, nil},
		{"one that is reached by way of another folder", dirs, []string{in("hooks", "sub", "..", "a.sh")}, nil},
		{"a link that leads into the folder", dirs, []string{in("elsewhere", "in.sh")}, nil},
		{"a link that leads out of the folder is not", dirs, []string{in("hooks", "out.sh")}, []string{"leads to " + in("elsewhere", "d.sh"), "allow.hooks.allowDirs"}},
		{"a folder with a longer name is another one", dirs, []string{in("hooks-of-others", "c.sh")}, []string{"only in /nonexistent, " + in("link-to-hooks")}},
		{"dots lead nowhere", dirs, []string{in("hooks", "..", "elsewhere", "d.sh")}, []string{"does not allow hooks in"}},
		{"the folder itself is no program", dirs, []string{in("hooks")}, []string{"is not a file"}},
		{"a program that is not there", dirs, []string{in("hooks", "z.sh")}, []string{"no such file", "install it"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Allow{Hooks: tt.consent}.CheckHook(tt.command)
			if (err == nil) != (len(tt.says) == 0) {
				t.Fatalf("error is %v, want %q", err, tt.says)
			}
			for _, want := range tt.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	if err := (Allow{Hooks: Grant}).CheckCommand([]string{"/bin/true"}); err == nil || !strings.Contains(err.Error(), "does not allow commands") {
		t.Errorf("hooks are no commands: %v", err)
	}
}
