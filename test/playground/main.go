// Command playground starts a running restic-manager that stays (up), and ends it (down).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/restic-manager/restic-manager/test/env"
	"github.com/restic-manager/restic-manager/test/scenario"
	"github.com/restic-manager/restic-manager/test/stack"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	commands := map[string]func(context.Context, string) error{"up": up, "down": down}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: playground up|down")
		os.Exit(2)
	}
	root, err := env.Root()
	if err == nil {
		err = commands[os.Args[1]](ctx, filepath.Join(root, ".cache", "playground"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func log(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func up(ctx context.Context, dir string) error {
	if stack.Exists(dir) {
		return errors.New("a playground is there already: make down ends it")
	}
	s, err := stack.Start(ctx, stack.Options{Dir: dir, Detach: true, Log: log})
	if err != nil {
		return err
	}
	objects, source := filepath.Join(dir, "objects"), filepath.Join(dir, "files")
	if err := os.MkdirAll(source, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(source, "hello.txt"), []byte("Hello from before the disaster.\n"), 0o644); err != nil {
		return err
	}
	if _, err := scenario.WriteObjects(s, objects, source); err != nil {
		return err
	}
	kubectl, err := env.Binary("", env.Kubectl)
	if err != nil {
		return err
	}
	fmt.Printf(`
The playground runs: API server, controllers, gateway (%s), rest-server (%s).

  export KUBECONFIG=%s
  alias kubectl=%s
  kubectl apply -k %s    # a Host, what to back up (%s), and when

docs/quickstart.md goes on from here. Logs are in %s. "make down" ends it and removes everything.
`, s.URL, s.Rest.URL(), s.CP.AdminKubeconfig, kubectl, objects, source, filepath.Join(dir, "logs"))
	return nil
}

func down(_ context.Context, dir string) error {
	if !stack.Exists(dir) {
		log("no playground is running")
		return nil
	}
	if err := stack.Down(dir); err != nil {
		return err
	}
	log("the playground is gone")
	return os.RemoveAll(dir)
}
