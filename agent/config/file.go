package config

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"go.yaml.in/yaml/v3"
)

// maxSize bounds agent.yaml; a real one has some 2 KB.
const maxSize = 1 << 20

// Error says what is wrong with an agent.yaml, where, and what to do. It never holds a value of the file that may be secret.
type Error struct {
	Path string
	// Line is 0 where none is known.
	Line    int
	Message string

	cause error
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s, line %d: %s", e.Path, e.Line, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Path, e.Message)
}

// Unwrap gives the file system's error, where there is one.
func (e *Error) Unwrap() error { return e.cause }

// Load reads, checks and defaults the file at path.
func Load(path string) (*Config, error) {
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	c, err := parse(path, raw)
	if err != nil {
		return nil, err
	}
	c.setDefaults()
	if err := c.Validate(); err != nil {
		return nil, &Error{Path: path, Message: err.Error() + ": correct it, or enrol this machine again with a new token and --force"}
	}
	return c, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{Path: path, cause: err, Message: "there is no such file: this machine is not enrolled yet; " +
			"run the command line that stands in the Host's enrollment Secret (restic-manager-agent enroll)"}
	case errors.Is(err, fs.ErrPermission):
		return nil, &Error{Path: path, cause: err, Message: "permission denied: run the agent as root (or as the user that enrolled the machine)"}
	case err != nil:
		return nil, &Error{Path: path, cause: err, Message: fmt.Sprintf("cannot be opened: %v", errors.Unwrap(err))}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &Error{Path: path, cause: err, Message: err.Error()}
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Path: path, Message: "is not a regular file: name the agent.yaml itself with --config"}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, &Error{Path: path, Message: fmt.Sprintf(
			"it holds this machine's private keys, and others than its owner have access to it (mode %04o): run chmod 600 %s", mode, path)}
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return nil, &Error{Path: path, Message: fmt.Sprintf(
			"it decides what runs here as uid %d, and is owned by uid %d: run chown %d %s", os.Geteuid(), stat.Uid, os.Geteuid(), path)}
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, &Error{Path: path, cause: err, Message: fmt.Sprintf("cannot be read: %v", err)}
	}
	if len(raw) > maxSize {
		return nil, &Error{Path: path, Message: fmt.Sprintf("is larger than %d bytes: this is no agent.yaml", maxSize)}
	}
	return raw, nil
}

func parse(path string, raw []byte) (*Config, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	decoder.KnownFields(true)
	var c Config
	if err := decoder.Decode(&c); err != nil {
		return nil, describe(path, err)
	}
	return &c, nil
}

var (
	lineOf       = regexp.MustCompile(`^(?:yaml: )?line (\d+): (.*)$`)
	unknownField = regexp.MustCompile(`^field (\S+) not found in type`)
	repeated     = regexp.MustCompile(`^mapping key "([^"]*)" already defined at line (\d+)`)
	quoted       = regexp.MustCompile("`[^`]*`")
	wrongType    = regexp.MustCompile(`^cannot unmarshal (!!\S+).* into (\S+)$`)
)

// describe turns the YAML library's error, which names Go types and quotes values, into a sentence for the machine's owner.
func describe(path string, err error) *Error {
	if errors.Is(err, io.EOF) {
		return &Error{Path: path, Message: "is empty: enrol this machine (restic-manager-agent enroll), or bring the file back from a backup"}
	}
	text := err.Error()
	typed := new(yaml.TypeError)
	isTyped := errors.As(err, &typed) && len(typed.Errors) > 0
	if isTyped {
		text = typed.Errors[0]
	}
	e := &Error{Path: path}
	if m := lineOf.FindStringSubmatch(text); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	switch {
	case unknownField.MatchString(text):
		e.Message = fmt.Sprintf("unknown field %q: correct the name or remove the line", unknownField.FindStringSubmatch(text)[1])
	case repeated.MatchString(text):
		m := repeated.FindStringSubmatch(text)
		e.Message = fmt.Sprintf("field %q stands there already, at line %s: remove one of them", m[1], m[2])
	case wrongType.MatchString(text):
		m := wrongType.FindStringSubmatch(text)
		e.Message = fmt.Sprintf("found a %s where a %s belongs: correct the line", yamlKind(m[1]), goKind(m[2]))
	case isTyped:
		e.Message = quoted.ReplaceAllString(text, "a value")
	default:
		e.Message = fmt.Sprintf("this is not YAML (%s): correct the line, or bring the file back from a backup",
			strings.TrimPrefix(text, "yaml: "))
	}
	return e
}

func yamlKind(tag string) string {
	switch tag {
	case "!!map":
		return "mapping"
	case "!!seq":
		return "list"
	case "!!str":
		return "text"
	case "!!int", "!!float":
		return "number"
	}
	return strings.TrimPrefix(tag, "!!")
}

func goKind(name string) string {
	switch {
	case strings.HasPrefix(name, "[]"):
		return "list"
	case strings.HasPrefix(name, "int"):
		return "number"
	case strings.HasPrefix(name, "config."):
		return "mapping"
	}
	return "text"
}

const header = `# Written by restic-manager-agent enroll. Holds this machine's private keys: keep it at mode 0600 and out of backups that others can read.
# The section "allow" is yours: what stands there as "deny" (or not at all), nobody can have done on this machine from outside.
#   hooks      commands before and after a backup          deny | allow | allowDirs: [/folder, ...] (programs in these folders alone)
#   commands   backing up what a command prints            deny | allow | allowDirs: [/folder, ...]
#   rclone     repositories that use rclone                deny | allow
#   restore    folders that restores may write to, beside the agent's own
#   queries    names and content of files in snapshots, read from afar (logs and lists of snapshots always are)   deny | allow
# They run as the agent's user, which is root as a rule: let root alone write to the folders. Restart the agent after a change.
`

// Marshal returns the file's content.
func (c *Config) Marshal() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(header)
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(c); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Save writes the file atomically with mode 0600. The folder must exist.
func (c *Config) Save(path string) error {
	c.setDefaults()
	raw, err := c.Marshal()
	if err != nil {
		return &Error{Path: path, cause: err, Message: err.Error()}
	}
	if err := atomicfile.Write(path, raw); err != nil {
		return &Error{Path: path, cause: err, Message: fmt.Sprintf("cannot be written: %v", err)}
	}
	return nil
}

// Bytes is standard base64 in the file.
type Bytes []byte

// UnmarshalYAML implements yaml.Unmarshaler.
func (b *Bytes) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: a base64 text belongs here", node.Line)}}
	}
	raw, err := base64.StdEncoding.DecodeString(node.Value)
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf(
			"line %d: the value is not base64: it was damaged; bring it back from a backup or enrol again", node.Line)}}
	}
	*b = raw
	return nil
}

// MarshalYAML implements yaml.Marshaler.
func (b Bytes) MarshalYAML() (any, error) { return base64.StdEncoding.EncodeToString(b), nil }
