package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/restic-manager/restic-manager/agent"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/internal/version"
	"github.com/spf13/cobra"
)

// tokenVariable may hold the token.
const tokenVariable = "RESTIC_MANAGER_TOKEN"

// maxToken bounds what is read as a token, in bytes.
const maxToken = 64 << 10

func enrollCommand(s streams) *cobra.Command {
	var token, tokenFile string
	var rclone, queries bool
	o := agent.EnrolOptions{Version: version.Version, Say: func(line string) { fmt.Fprintln(s.err, line) }}
	c := &cobra.Command{
		Use:   "enroll --token -",
		Short: "Make this machine known to its Host with the token of the Secret <host>-enrollment",
		Long: "Make this machine known to its Host. The token proves that you may: pass it on standard input (--token -), in a file\n" +
			"(--token-file), or in " + tokenVariable + "; a token on the command line can be read by every user of this machine while the command runs.\n" +
			"The machine makes its own keys, and " + config.DefaultPath + " is written once the controllers have approved. The --allow flags are your consent\n" +
			"to what reaches beyond backing up files; they can be changed in that file later.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Token, err = readToken(s.in, token, tokenFile); err != nil {
				return err
			}
			if o.ConfigPath, err = filepath.Abs(o.ConfigPath); err != nil {
				return err
			}
			if o.StateDir, err = filepath.Abs(o.StateDir); err != nil {
				return err
			}
			o.Allow.Rclone, o.Allow.Queries = consent(rclone), consent(queries)
			host, err := agent.Enrol(c.Context(), o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "This machine is enrolled as Host %s. Its configuration is %s.\nStart the agent with: restic-manager-agent run%s\n",
				host, o.ConfigPath, configArgument(o.ConfigPath))
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&token, "token", "", "the token, or - to read it from standard input")
	f.StringVar(&tokenFile, "token-file", "", "file that holds the token, or - for standard input")
	configFlag(c, &o.ConfigPath)
	f.StringVar(&o.StateDir, "state-dir", config.DefaultStateDir, "folder for everything that the agent writes")
	f.StringVar(&o.ResticPath, "restic", "", "restic's program (default: restic in PATH)")
	f.BoolVar(&o.Force, "force", false, "replace an enrolment that is there")
	f.Var(consentValue{&o.Allow.Hooks}, "allow-hooks", "let hosts and source groups run commands before and after a backup:\ndeny, allow, or dir:/folder[,/folder] for the programs in these folders alone")
	f.Var(consentValue{&o.Allow.Commands}, "allow-commands", "let source groups back up the output of commands: deny, allow, or dir:/folder[,/folder]")
	f.BoolVar(&rclone, "allow-rclone", false, "let repositories use rclone")
	f.BoolVar(&queries, "allow-queries", false, "let people see the names and the content of files in snapshots through this machine;\nlogs, lists of snapshots and diagnoses they may see anyway")
	f.StringArrayVar(&o.Allow.Restore, "allow-restore", nil, "folder below which restores may write, beside the agent's own (repeatable)")
	return c
}

func consent(granted bool) config.Consent {
	if granted {
		return config.Grant
	}
	return config.Deny
}

// consentValue is a Consent as a flag.
type consentValue struct{ to *config.Consent }

// String implements pflag.Value.
func (v consentValue) String() string {
	if v.to == nil {
		return config.Deny.String()
	}
	return v.to.String()
}

// Set implements pflag.Value.
func (v consentValue) Set(text string) (err error) {
	*v.to, err = config.ParseConsent(text)
	return err
}

// Type implements pflag.Value.
func (v consentValue) Type() string { return "consent" }

func configArgument(path string) string {
	if path == config.DefaultPath {
		return ""
	}
	return " --config " + path
}

// readToken takes the token from where it was put. Its errors never hold any of it.
func readToken(in io.Reader, token, file string) (string, error) {
	switch {
	case token != "" && file != "":
		return "", usagef("--token and --token-file exclude each other")
	case token == "-" || file == "-":
		return readAll(in, "standard input")
	case token != "":
		return token, nil
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return "", usagef("--token-file: %w", err)
		}
		defer f.Close()
		return readAll(f, file)
	case os.Getenv(tokenVariable) != "":
		token := os.Getenv(tokenVariable)
		// Children have no business with it.
		_ = os.Unsetenv(tokenVariable)
		return token, nil
	}
	return "", usagef("no token: run the command line that stands in the Secret <host>-enrollment, or pass --token -, --token-file or %s", tokenVariable)
}

func readAll(r io.Reader, what string) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxToken))
	if err != nil {
		return "", fmt.Errorf("the token cannot be read from %s: %w", what, err)
	}
	if strings.TrimSpace(string(raw)) == "" {
		return "", usagef("there is no token on %s", what)
	}
	return string(raw), nil
}
