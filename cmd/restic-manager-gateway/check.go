package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/agentgateway/check"
)

const (
	// checkPause is between two attempts, checkAttempt how long one may take.
	checkPause   = 2 * time.Second
	checkAttempt = 10 * time.Second
)

type checkFlags struct {
	url, address, caFile string
	timeout              time.Duration
}

// checkCommand is what `helm test` runs: the image has no shell and no other client.
func checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at a gateway as a machine would, until it answers rightly or --timeout is over",
		Long: "Connects to a gateway as an agent does: its address, the name and validity of its certificate, the authority of --ca-file, and the first message of a session. " +
			"Needs no right on the cluster, and no enrolment.",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.run(cmd.Context(), clock.RealClock{}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the gateway answers machines that ask for %s\n", f.url)
			return nil
		},
	}
	p := cmd.Flags()
	p.StringVar(&f.url, "gateway-url", "", "where machines find the gateway, https://host[:port] (required)")
	p.StringVar(&f.address, "address", "", "host:port to connect to in place of the URL's, for instance the Service (default: that of the URL)")
	p.StringVar(&f.caFile, "ca-file", "", "PEM file with the authorities that machines pin (default: the certificate's authority is not looked at)")
	p.DurationVar(&f.timeout, "timeout", time.Minute, "how long to try; 0 tries once")
	if err := cmd.MarkFlagRequired("gateway-url"); err != nil {
		panic(err) // no such flag: a mistake above
	}
	return cmd
}

// run tries until the gateway answers or the time is over; the last error is what counts.
func (f *checkFlags) run(ctx context.Context, c clock.Clock) error {
	o := check.Options{URL: f.url, Address: f.address}
	if f.caFile != "" {
		var err error
		if o.CA, err = os.ReadFile(f.caFile); err != nil {
			return fmt.Errorf("--ca-file: %w", err)
		}
	}
	for end := c.Now().Add(f.timeout); ; {
		attempt, cancel := context.WithTimeout(ctx, checkAttempt)
		err := check.Once(attempt, o)
		cancel()
		if err == nil {
			return nil
		}
		if !c.Now().Add(checkPause).Before(end) {
			return err
		}
		select {
		case <-c.After(checkPause):
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}
