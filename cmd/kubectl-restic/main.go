// Command kubectl-restic is the kubectl plugin: kubectl restic status, logs, snapshots, restore, doctor and more. Its exit codes are in package cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"k8s.io/cli-runtime/pkg/genericiooptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // whatever login a kubeconfig asks for

	"github.com/restic-manager/restic-manager/cli"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// gcPercent: the program lives for seconds, and mostly holds what client-go registers when it starts. Looking through that again and again costs more than the memory.
const gcPercent = 400

func main() {
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, interrupts := terminal.NewInterrupts(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		for range signals {
			interrupts.Fire()
		}
	}()
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(cli.Execute(ctx, cli.New(streams, interrupts), os.Args[1:]))
}
