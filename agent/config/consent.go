package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Consent is the owner's agreement to one thing: in the file "deny", "allow", or a mapping with allowDirs, which allows the programs in
// those folders alone. The zero value is deny.
type Consent struct {
	// Allow is true for "allow".
	Allow bool
	// AllowDirs are absolute folders; not together with Allow.
	AllowDirs []string
}

// Deny and Grant are the consents without folders.
var (
	Deny  = Consent{}
	Grant = Consent{Allow: true}
)

const (
	wordDeny  = "deny"
	wordAllow = "allow"
	fieldDirs = "allowDirs"
	prefixDir = "dir:"
	wantText  = wordDeny + ", " + wordAllow + " or a mapping with " + fieldDirs
)

// Granted tells whether anything is allowed at all.
func (c Consent) Granted() bool { return c.Allow || len(c.AllowDirs) > 0 }

// String is the consent as enroll's flags take it.
func (c Consent) String() string {
	switch {
	case c.Allow:
		return wordAllow
	case len(c.AllowDirs) > 0:
		return prefixDir + strings.Join(c.AllowDirs, ",")
	}
	return wordDeny
}

// ParseConsent reads deny, allow, or dir:/a,/b as String writes it.
func ParseConsent(text string) (Consent, error) {
	dirs, isDirs := strings.CutPrefix(text, prefixDir)
	switch {
	case text == wordDeny:
		return Deny, nil
	case text == wordAllow:
		return Grant, nil
	case isDirs:
		c := Consent{AllowDirs: strings.Split(dirs, ",")}
		return c, c.validate()
	}
	return Consent{}, fmt.Errorf("%q is no consent: want %s, %s or %s/folder[,/folder]", text, wordDeny, wordAllow, prefixDir)
}

func (c Consent) validate() error {
	if c.Allow && len(c.AllowDirs) > 0 {
		return fmt.Errorf("%s and %s exclude each other", wordAllow, fieldDirs)
	}
	for _, dir := range c.AllowDirs {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("the folder %q is not an absolute path", dir)
		}
	}
	return nil
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Consent) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	wrong := func(line int, format string, args ...any) error {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, args...))}}
	}
	*c = Consent{}
	switch node.Kind {
	case yaml.ScalarNode:
		switch node.Value {
		case wordDeny, "":
		case wordAllow:
			c.Allow = true
		default:
			return wrong(node.Line, "this is no consent: want %s", wantText)
		}
		return nil
	case yaml.MappingNode:
		for i := 0; i < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if key.Value != fieldDirs {
				return wrong(key.Line, "unknown field %q in a consent: correct the name (%s) or remove the line", key.Value, fieldDirs)
			}
			if value.Kind != yaml.SequenceNode || len(value.Content) == 0 {
				return wrong(key.Line, "%s is no list of folders, or an empty one: name folders, or write %s instead", fieldDirs, wordDeny)
			}
			if len(c.AllowDirs) > 0 {
				return wrong(key.Line, "field %q stands there already: remove one of them", fieldDirs)
			}
			for _, dir := range value.Content {
				if dir.Kind != yaml.ScalarNode {
					return wrong(dir.Line, "a folder belongs here")
				}
				c.AllowDirs = append(c.AllowDirs, dir.Value)
			}
		}
		if len(c.AllowDirs) == 0 {
			return wrong(node.Line, "this is no consent: want %s", wantText)
		}
		return nil
	}
	return wrong(node.Line, "this is no consent: want %s", wantText)
}

// MarshalYAML implements yaml.Marshaler.
func (c Consent) MarshalYAML() (any, error) {
	switch {
	case c.Allow:
		return wordAllow, nil
	case len(c.AllowDirs) > 0:
		return map[string][]string{fieldDirs: c.AllowDirs}, nil
	}
	return wordDeny, nil
}

// Texts are the consents by their names in the section allow, as enroll's flags take them.
func (a Allow) Texts() map[string]string {
	restore := wordDeny
	if len(a.Restore) > 0 {
		restore = prefixDir + strings.Join(a.Restore, ",")
	}
	return map[string]string{"hooks": a.Hooks.String(), "commands": a.Commands.String(), "rclone": a.Rclone.String(), "restore": restore, "queries": a.Queries.String()}
}

// CheckHook tells whether this machine allows a hook's command; the error says what its owner can do.
func (a Allow) CheckHook(command []string) error { return a.Hooks.Check("hooks", command) }

// CheckCommand tells whether this machine allows to back up the output of a command; the error says what its owner can do.
func (a Allow) CheckCommand(command []string) error { return a.Commands.Check("commands", command) }

// Check tells whether the consent with this name in the section allow covers a command: a list of words whose first is an absolute path. With folders,
// that path, symbolic links resolved, must be a file below one of them. The error names the consent, the command and the remedy.
//
// Who may write to a folder on the way to the program can swap it after the check: allow folders that root alone may write to.
func (c Consent) Check(name string, command []string) error {
	if len(command) == 0 {
		return fmt.Errorf("%s: there is no command", name)
	}
	program := command[0]
	if !c.Granted() {
		return fmt.Errorf("this machine does not allow %s, and %s is one; its owner can, with %s: %s, or %s with the program's folder, in the section allow of agent.yaml, and a restart of the agent",
			name, program, name, wordAllow, fieldDirs)
	}
	if !filepath.IsAbs(program) {
		return fmt.Errorf("%s: the program %q is not an absolute path; name it by its full path", name, program)
	}
	if c.Allow {
		return nil
	}
	real, err := filepath.EvalSymlinks(program)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return fmt.Errorf("%s: the program %s cannot be looked at on this machine: %w; install it, or correct the path", name, program, err)
	}
	info, err := os.Stat(real)
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %s is not a file; name a program", name, program)
	}
	inside := slices.ContainsFunc(c.AllowDirs, func(dir string) bool {
		dir, err := filepath.EvalSymlinks(dir)
		return err == nil && strings.HasPrefix(real, strings.TrimSuffix(dir, "/")+"/")
	})
	if inside {
		return nil
	}
	leads := ""
	if real != filepath.Clean(program) {
		leads = fmt.Sprintf(" (which leads to %s)", real)
	}
	return fmt.Errorf("this machine does not allow %s in %s%s, only in %s; its owner can put the program there, or add its folder to allow.%s.%s in agent.yaml and restart the agent",
		name, program, leads, strings.Join(c.AllowDirs, ", "), name, fieldDirs)
}
