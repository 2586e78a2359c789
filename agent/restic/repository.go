package restic

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/restic-manager/restic-manager/api/resticenv"
)

// Repository is where snapshots are kept, and what is needed to open it.
type Repository struct {
	// URL in restic's syntax: rest:https://…, s3:…, b2:…, azure:…, gs:…, swift:…, sftp:…, rclone:… or an absolute path. It must not hold a
	// password; sftp alone may hold a user name.
	URL string
	// Environment holds the credentials by restic's own variable names. RESTIC_PASSWORD is required. Which others may be there depends on the
	// backend, see CheckEnvironment.
	Environment map[string]string
	// CABundle is PEM that replaces the system's CA certificates for this repository. Empty: the system's.
	CABundle []byte
	// ClientCertificate is PEM, certificate and private key, for servers that ask for one. Empty: none. It reaches restic through a pipe.
	ClientCertificate []byte
	// Consent is what the machine's owner allowed beyond the default.
	Consent Consent
}

// Consent lists what runs programs on the machine by somebody else's word, and so needs its owner's agreement. Default deny.
type Consent struct {
	// Rclone allows rclone: repositories and RCLONE_* variables, with which rclone runs commands of its configuration.
	Rclone bool
}

// State of a repository, as Probe found it.
type State string

const (
	// StateExists means that it was opened with the given password.
	StateExists State = "Exists"
	// StateMissing means that there is none at the URL. The location itself may not exist either.
	StateMissing State = "Missing"
)

// scheme returns the backend of the URL, "local" for a path.
func (r Repository) scheme() (string, error) {
	if r.URL == "" {
		return "", invalid("the repository URL is empty")
	}
	backend, err := resticenv.Backend(r.URL)
	if err != nil {
		return "", invalid("the repository URL %q %s", RedactURL(r.URL), err)
	}
	return backend, nil
}

// Check tells whether the repository can be used at all, before anything is started: known backend, no password in the URL,
// only permitted variables, consent where it is needed. The error names the field or variable, and never its value.
func (r Repository) Check() error {
	scheme, err := r.scheme()
	if err != nil {
		return err
	}
	if strings.ContainsAny(r.URL, "\n\r\x00") {
		return invalid("the repository URL has a line break or NUL in it")
	}
	if err := checkUserinfo(scheme, r.URL); err != nil {
		return err
	}
	location := strings.TrimPrefix(r.URL, scheme+":")
	switch scheme {
	case "local":
		if !filepath.IsAbs(location) {
			return invalid("the repository path %q is not absolute", location)
		}
	case "sftp", "rclone":
		// Both hand this text to a program's command line, where a leading dash is an option (ssh -oProxyCommand=… runs it as root).
		host := strings.TrimLeft(location, "/")
		if _, after, found := strings.Cut(host, "@"); found && scheme == "sftp" {
			if strings.HasPrefix(after, "-") {
				return invalid("the host in the repository URL begins with a dash")
			}
		}
		if strings.HasPrefix(host, "-") {
			return invalid("the location in the repository URL begins with a dash")
		}
		if scheme == "rclone" && !r.Consent.Rclone {
			return invalid("this machine does not allow rclone repositories; its owner can, in agent.yaml (consent: rclone)")
		}
	}
	if _, err := r.certificatePEM(); err != nil {
		return err
	}
	return CheckEnvironment(scheme, r.Environment, r.Consent)
}

// checkUserinfo refuses credentials in the URL: they would beat those of the environment, and end up wherever the URL is shown.
func checkUserinfo(scheme, text string) error {
	location := strings.TrimPrefix(text, scheme+":")
	if scheme == "sftp" {
		location = strings.TrimPrefix(location, "//")
		if user, _, found := strings.Cut(location, "@"); found && strings.Contains(user, ":") && !strings.Contains(user, "/") {
			return invalid("the repository URL holds a password; sftp repositories need a key for ssh instead")
		}
		return nil
	}
	if !strings.Contains(location, "://") {
		return nil
	}
	parsed, err := url.Parse(location)
	if err != nil {
		// The error of url.Parse quotes the URL, which may hold the password.
		return invalid("the repository URL is not valid: %s", urlErrorReason(err))
	}
	if parsed.User != nil {
		return invalid("the repository URL holds a user name or password; put them into the credentials (RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD for rest:)")
	}
	return nil
}

func urlErrorReason(err error) string {
	if e, ok := err.(*url.Error); ok {
		reason := e.Err.Error()
		if strings.Contains(reason, "invalid port") || strings.Contains(reason, "invalid userinfo") {
			// These two quote a part of what stands before the host.
			return "it has an invalid port, user or password part"
		}
		return reason
	}
	return "cannot be parsed"
}

func invalid(format string, args ...any) error {
	return &Error{Kind: KindInvalid, Message: fmt.Sprintf(format, args...)}
}
