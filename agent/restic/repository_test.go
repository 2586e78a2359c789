package restic

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestRepositoriesThatAreAccepted(t *testing.T) {
	for _, test := range []struct {
		url     string
		env     map[string]string
		consent Consent
	}{
		{"/srv/repo", nil, Consent{}},
		{"local:/srv/repo", nil, Consent{}},
		{"rest:https://backup.example.com/web-1", map[string]string{"RESTIC_REST_USERNAME": "u", "RESTIC_REST_PASSWORD": "p"}, Consent{}},
		{"s3:https://s3.example.com/bucket/x", map[string]string{"AWS_ACCESS_KEY_ID": "u", "AWS_SECRET_ACCESS_KEY": "p"}, Consent{}},
		{"s3:s3.amazonaws.com/bucket", nil, Consent{}},
		{"b2:bucket:path", map[string]string{"B2_ACCOUNT_ID": "i", "B2_ACCOUNT_KEY": "k"}, Consent{}},
		{"sftp:user@host:/srv/repo", nil, Consent{}},
		{"sftp://user@host:2222//srv/repo", nil, Consent{}},
		{"rclone:remote:path", map[string]string{"RCLONE_CONFIG": "/x"}, Consent{Rclone: true}},
	} {
		t.Run(test.url, func(t *testing.T) {
			env := map[string]string{"RESTIC_PASSWORD": "s"}
			maps.Copy(env, test.env)
			if err := (Repository{URL: test.url, Environment: env, Consent: test.consent}).Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRepositoriesThatAreRefused(t *testing.T) {
	const secret = "hunter2"
	good := map[string]string{"RESTIC_PASSWORD": secret}
	for _, test := range []struct{ name, url, variable, want string }{
		{"no URL", "", "", "empty"},
		{"a relative path", "repo", "", "no backend"},
		{"an unknown backend", "ftp:x", "", "no backend"},
		{"a relative local path", "local:x", "", "not absolute"},
		{"a password in the URL", "rest:https://u:" + secret + "@h/x", "", "user name or password"},
		{"a user in the URL", "rest:https://u@h/x", "", "user name or password"},
		{"a password in a URL that does not parse", "rest:https://u:" + secret + "%zz@h/x", "", "not valid"},
		{"a password that breaks the port", "rest:https://u:" + secret + "/x@h:y/", "", "not valid"},
		{"a password for sftp", "sftp:u:" + secret + "@h:/x", "", "holds a password"},
		{"an option for ssh", "sftp:-oProxyCommand=reboot:/x", "", "dash"},
		{"an option for ssh after the user", "sftp:u@-oProxyCommand=reboot:/x", "", "dash"},
		{"rclone without consent", "rclone:r:x", "", "rclone"},
		{"a line break", "/srv\n/x", "", "line break"},
		{"a password command", "/srv", "RESTIC_PASSWORD_COMMAND", "RESTIC_PASSWORD_COMMAND"},
		{"a password file", "/srv", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_FILE"},
		{"another repository", "/srv", "RESTIC_REPOSITORY", "RESTIC_REPOSITORY"},
		{"another host name", "/srv", "RESTIC_HOST", "RESTIC_HOST"},
		{"the path", "/srv", "PATH", "PATH"},
		{"a preloaded library", "/srv", "LD_PRELOAD", "LD_PRELOAD"},
		{"a variable of another backend", "/srv", "AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"},
		{"an AWS file that can name a program", "s3:h/b", "AWS_SHARED_CREDENTIALS_FILE", "AWS_SHARED_CREDENTIALS_FILE"},
		{"a variable of rclone elsewhere", "/srv", "RCLONE_PASSWORD_COMMAND", "RCLONE_PASSWORD_COMMAND"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := maps.Clone(good)
			if test.variable != "" {
				env[test.variable] = secret
			}
			err := Repository{URL: test.url, Environment: env}.Check()
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want KindInvalid with %q", err, test.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the error holds the secret:", err)
			}
		})
	}
	if err := (Repository{URL: "/srv"}).Check(); err == nil || !strings.Contains(err.Error(), "RESTIC_PASSWORD") {
		t.Error("a repository without a password gives", err)
	}
}

func TestEnvironmentIsBuiltFromNothing(t *testing.T) {
	t.Setenv("LD_PRELOAD", "x")
	t.Setenv("RESTIC_HOST", "x")
	r := &Runner{Proxy: map[string]string{"HTTPS_PROXY": "http://proxy:3128"}}
	got, err := r.environment(Repository{URL: "/srv", Environment: map[string]string{"RESTIC_PASSWORD": "s"}}, "/run-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"HOME=/run-1", "HTTPS_PROXY=http://proxy:3128", "LANG=C.UTF-8", "PATH=" + safePath, "RESTIC_PASSWORD=s",
		"RESTIC_PROGRESS_FPS=1", "RESTIC_REPOSITORY=/srv", "TMPDIR=/run-1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Proxy["LD_PRELOAD"] = "x"
	if _, err := r.environment(Repository{URL: "/srv"}, "/run-1", nil); !errors.Is(err, ErrInvalid) {
		t.Error("a variable that is no proxy passes as one:", err)
	}
}

func TestRedaction(t *testing.T) {
	r := newRedactor(map[string]string{"RESTIC_PASSWORD": `a"b c`, "RESTIC_REST_PASSWORD": "a\"b c/longer", "AWS_DEFAULT_REGION": "eu", "AWS_SESSION_TOKEN": "line1\nline2", "EMPTY": ""})
	for _, test := range []struct{ in, want string }{
		{`password a"b c is wrong`, `password *** is wrong`},
		{`{"m":"a\"b c"}`, `{"m":"***"}`},
		{`GET /?p=a%22b+c`, `GET /?p=***`},
		{`the longer one a"b c/longer goes whole`, `the longer one *** goes whole`},
		{`line2 alone`, `*** alone`},
		{`region eu stays`, `region eu stays`},
		{`Head "https://u:pw@h/x": dial`, `Head "https://h/x": dial`},
		{`Head "http://:***@127.0.0.1:1/x": dial`, `Head "http://127.0.0.1:1/x": dial`},
		{`mail a@b.c`, `mail a@b.c`},
	} {
		if got := r.text(test.in); got != test.want {
			t.Errorf("%q became %q, want %q", test.in, got, test.want)
		}
	}
}
