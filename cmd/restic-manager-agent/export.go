package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/restic-manager/restic-manager/agent"
	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/spf13/cobra"
)

// Names of the files of --certificates-dir, and restic's variables for them.
const (
	caFile             = "repository-ca.pem"
	clientFile         = "repository-client.pem"
	previousClientFile = "repository-client-previous.pem"
	caVariable         = "RESTIC_CACERT"
	clientVariable     = "RESTIC_TLS_CLIENT_CERT"
)

func exportCommand(s streams) *cobra.Command {
	var path, output, dir string
	c := &cobra.Command{
		Use:   "export-credentials",
		Short: "Print what opens this machine's repository with plain restic (secret)",
		Long: "Print what opens the repository of this machine with plain restic, without cluster and agent: for keeping in a safe place, and for the day when the\n" +
			"cluster is gone. It needs agent.yaml and the state folder, works while the agent runs, and changes nothing. Whoever reads the output can read the backups.\n\n" +
			"  eval \"$(restic-manager-agent export-credentials)\" && restic snapshots\n\n" +
			"With --output env (default) it prints lines for a POSIX shell, with --output json an object. Certificates of the repository, where it needs any, stand in\n" +
			"the JSON; for a shell name a folder for them with --certificates-dir.",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if output != "env" && output != "json" {
				return usagef("--output is %q, want env or json", output)
			}
			if dir != "" && output == "json" {
				return usagef("--certificates-dir belongs to --output env: the JSON holds the certificates")
			}
			loaded, err := config.Load(path)
			if err != nil {
				return err
			}
			e, err := agent.ExportCredentials(loaded)
			if err != nil {
				return err
			}
			if e.Problem != "" {
				fmt.Fprintf(s.err, "restic-manager-agent: note: %s\n", e.Problem)
			}
			if output == "json" {
				return exportJSON(s.out, e)
			}
			if dir == "" && (e.CABundle != "" || e.Credential.ClientCertificate != "") {
				// The output says so too, in a comment that a shell swallows.
				fmt.Fprintln(s.err, "restic-manager-agent: note: the repository needs certificates; restic will not open it without: call this command with --certificates-dir FOLDER")
			}
			return exportShell(s.out, e, dir)
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&output, "output", "env", "env: lines for a shell; json: an object")
	c.Flags().StringVar(&dir, "certificates-dir", "", "folder to write the repository's certificates to (mode 0600)")
	return c
}

// exportedCredential is one in the JSON.
type exportedCredential struct {
	Environment       map[string]string `json:"environment"`
	ClientCertificate string            `json:"clientCertificate,omitempty"`
}

func exportJSON(out io.Writer, e agent.Export) error {
	type document struct {
		Host       string `json:"host"`
		ResticHost string `json:"resticHost,omitempty"`
		Repository string `json:"repository"`
		CABundle   string `json:"caBundle,omitempty"`
		exportedCredential
		// Previous may be the one that opens the repository: the present one was not seen to do so yet.
		Previous *exportedCredential `json:"previous,omitempty"`
	}
	d := document{Host: e.Host.String(), ResticHost: e.ResticHost, Repository: e.URL, CABundle: e.CABundle, exportedCredential: exportedCredential(e.Credential)}
	if e.Previous != nil {
		previous := exportedCredential(*e.Previous)
		d.Previous = &previous
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(d)
}

func exportShell(out io.Writer, e agent.Export, dir string) error {
	var b strings.Builder
	comment := func(format string, args ...any) {
		fmt.Fprintf(&b, "# %s\n", strings.Map(printable, fmt.Sprintf(format, args...)))
	}
	comment("Repository of Host %s. Secret: whoever reads this can read the backups.", e.Host)
	if e.ResticHost != "" {
		comment("Snapshots of this machine: restic snapshots --host %s", quote(e.ResticHost))
	}
	if e.URL == "" {
		comment("The repository's URL is not known any more: set RESTIC_REPOSITORY yourself.")
	} else {
		b.WriteString(export("RESTIC_REPOSITORY", e.URL))
	}
	if err := certificate(&b, comment, dir, caFile, caVariable, e.CABundle, "a CA bundle of its own"); err != nil {
		return err
	}
	if err := exportCredential(&b, comment, dir, clientFile, e.Credential); err != nil {
		return err
	}
	if e.Previous != nil {
		comment("")
		comment("The credential above came with the newest schedule set and was not seen to open the repository yet. This is the one before:")
		var previous strings.Builder
		if err := exportCredential(&previous, func(format string, args ...any) {
			fmt.Fprintf(&previous, "%s\n", strings.Map(printable, fmt.Sprintf(format, args...)))
		}, dir, previousClientFile, *e.Previous); err != nil {
			return err
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(previous.String(), "\n"), "\n") {
			fmt.Fprintf(&b, "# %s\n", line)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func exportCredential(b *strings.Builder, comment func(string, ...any), dir, file string, c wire.Credential) error {
	for _, name := range slices.Sorted(maps.Keys(c.Environment)) {
		b.WriteString(export(name, c.Environment[name]))
	}
	return certificate(b, comment, dir, file, clientVariable, c.ClientCertificate, "a client certificate")
}

// certificate writes a PEM text where restic can read it, and names it; without a folder it says what is missing.
func certificate(b *strings.Builder, comment func(string, ...any), dir, file, variable, pem, what string) error {
	switch {
	case pem == "":
		return nil
	case dir == "":
		comment("The repository needs %s: call this command with --certificates-dir FOLDER, or take it from --output json and set %s to its file.", what, variable)
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--certificates-dir: %w", err)
	}
	path := filepath.Join(dir, file)
	if err := atomicfile.Write(path, []byte(pem)); err != nil {
		return fmt.Errorf("--certificates-dir: %w", err)
	}
	b.WriteString(export(variable, path))
	return nil
}

func export(name, value string) string { return fmt.Sprintf("export %s=%s\n", name, quote(value)) }

// quote makes one word for a POSIX shell, whatever is in it.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// printable keeps a comment on its line.
func printable(r rune) rune {
	if unicode.IsControl(r) {
		return '?'
	}
	return r
}
