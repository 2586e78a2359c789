package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agent"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/internal/version"
	"github.com/spf13/cobra"
)

// streams of the process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

func execute(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot(streams{in, out, errOut})
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(errOut, "restic-manager-agent: %v\n", err)
	}
	return exitCode(err)
}

func newRoot(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "restic-manager-agent",
		Short:         "Back up this machine with restic, as its Host object in Kubernetes says",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.Version = about()
	root.SetVersionTemplate("{{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see --help)", err)}
	})
	root.AddCommand(enrollCommand(s), runCommand(s), statusCommand(s), exportCommand(s), versionCommand(s), dumpCommand())
	return root
}

// about is what version and --version print.
func about() string {
	return fmt.Sprintf("restic-manager-agent %s (protocol %d, %s, %s/%s)", version.Version, wire.Protocol, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func versionCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of agent and protocol",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(s.out, about())
			return err
		},
	}
}

func configFlag(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", config.DefaultPath, "agent.yaml of this machine")
}

func runCommand(s streams) *cobra.Command {
	var path, format, level string
	var retryLock time.Duration
	var retryBackoff durations
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the agent, until SIGTERM",
		Long: "Run the agent. It connects to the gateway, applies the schedules that the controllers signed for this machine, runs restic and reports.\n" +
			"On SIGTERM nothing new starts; a running restic is asked to end (65 s), its job is reported as failed with reason AgentRestarted, and the\n" +
			"agent exits with 0. A second SIGTERM ends it at once; the job is reported after the next start then.\n" +
			"When its Host was removed in the cluster it runs nothing more, and says so here and in status. It does not exit: it looks rarely whether the Host is back.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			logger, err := newLogger(s.err, format, level)
			if err != nil {
				return err
			}
			slog.SetDefault(logger)
			loaded, err := config.Load(path)
			if err != nil {
				return err
			}
			a, err := agent.New(agent.Options{Config: loaded, ConfigPath: path, Version: version.Version, Logger: logger, RetryLock: retryLock, RetryBackoff: retryBackoff})
			if err != nil {
				return err
			}
			defer a.Close()
			a.Run(c.Context())
			return nil
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&format, "log-format", "auto", "text, json, or auto: text for a terminal, logfmt without times for a service")
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	// For tests, which have no half hour.
	c.Flags().DurationVar(&retryLock, "retry-lock", 0, "how long restic waits for somebody else's lock (default 5m)")
	c.Flags().Var(&retryBackoff, "retry-backoff", "waits between the attempts of a job, separated by commas (default 1m,5m,15m,30m)")
	for _, hidden := range []string{"retry-lock", "retry-backoff"} {
		if err := c.Flags().MarkHidden(hidden); err != nil {
			panic(err) // it was defined above
		}
	}
	return c
}

// durations is a list of them as a flag.
type durations []time.Duration

// String implements pflag.Value.
func (d *durations) String() string {
	parts := make([]string, 0, len(*d))
	for _, one := range *d {
		parts = append(parts, one.String())
	}
	return strings.Join(parts, ",")
}

// Set implements pflag.Value.
func (d *durations) Set(text string) error {
	*d = durations{}
	for part := range strings.SplitSeq(text, ",") {
		one, err := time.ParseDuration(part)
		if err != nil || one <= 0 {
			return fmt.Errorf("%q is no duration above 0: write for instance 30s", part)
		}
		*d = append(*d, one)
	}
	return nil
}

// Type implements pflag.Value.
func (d *durations) Type() string { return "durations" }

func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var o slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usagef("--log-level is %q, want debug, info, warn or error", level)
	}
	o.Level = l
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, &o)), nil
	case "auto":
		// journald keeps the time itself.
		if os.Getenv("JOURNAL_STREAM") != "" {
			o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}
		}
	case "text":
	default:
		return nil, usagef("--log-format is %q, want text, json or auto", format)
	}
	return slog.New(slog.NewTextHandler(w, &o)), nil
}
