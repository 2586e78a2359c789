// Command playground starts a running restic-manager that stays (up), and ends it (down).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
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
		return again(dir)
	}
	// What an interrupted start left is not to be mixed with this one.
	if err := os.RemoveAll(dir); err != nil {
		return err
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
	log("\nThe playground runs: API server, controllers, gateway (%s), an append-only rest-server (%s), and one on the same data through which\nwhoever is let in may delete (%s; it has no users yet).\n",
		s.URL, s.AppendOnly.URL(), s.Rest.URL())
	return explain(dir)
}

// again is for a playground that was started before: it tells once more how to use it, or what is wrong with it.
func again(dir string) error {
	if gone := stack.Gone(dir); len(gone) > 0 {
		return fmt.Errorf("a playground was started, but does not run any more (%s): make down removes it, then make up starts another", strings.Join(gone, ", "))
	}
	// The objects are written last.
	if _, err := os.Stat(filepath.Join(dir, "objects", "kustomization.yaml")); err != nil {
		return errors.New("a playground is being started, or its start was interrupted: make down removes what is there, then make up starts another")
	}
	log("The playground runs already; nothing was changed. \"make down\" ends it.\n")
	return explain(dir)
}

// explain prints how to use the playground.
func explain(dir string) error {
	kubectl, err := env.Binary("", env.Kubectl)
	if err != nil {
		return err
	}
	log(`  export KUBECONFIG=%s
  alias kubectl=%s

docs/quickstart.md goes on from here: kubectl apply -k %s
Backed up is %s. Logs are in %s.
"make down" ends the playground and removes everything.`,
		filepath.Join(dir, "control-plane", "admin.kubeconfig"), kubectl, filepath.Join(dir, "objects"), filepath.Join(dir, "files"), filepath.Join(dir, "logs"))
	return nil
}

func down(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		log("there is no playground: nothing to do")
		return nil
	}
	// The machines of quickstart and guides: their agents were started by hand, and would go on in folders that are gone.
	for _, depth := range []string{"*", "*/*", "*/*/*"} {
		locks, err := filepath.Glob(filepath.Join(dir, depth, "lock"))
		if err != nil {
			return err
		}
		for _, lock := range locks {
			if err := stack.StopAgent(ctx, filepath.Dir(lock), log); err != nil {
				return err
			}
		}
	}
	log("stopping controllers, gateway, rest-server and API server")
	if err := stack.Down(dir); err != nil {
		return err
	}
	log("removing %s", dir)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	log("the playground is gone")
	return nil
}
