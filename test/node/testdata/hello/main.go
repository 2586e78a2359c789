// Command hello tells, over HTTP, how it was started.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "once" {
		fmt.Println("done once")
		return
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	said := map[string]string{}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		said[key] = strings.Join(strings.Fields(value), " ")
	}
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat("/tmp/not-ready"); err == nil {
			http.Error(w, "told not to be", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/not-ready", func(http.ResponseWriter, *http.Request) { _ = os.WriteFile("/tmp/not-ready", nil, 0o600) })
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		secret, _ := os.ReadFile("/secret/word")
		token, _ := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/token")
		said["secret"], said["tokenBytes"] = string(secret), fmt.Sprint(len(token))
		said["root"] = fmt.Sprint(os.WriteFile("/here", nil, 0o600))
		said["tmp"] = fmt.Sprint(os.WriteFile("/tmp/here", nil, 0o600))
		said["pod"], said["ip"], said["args"] = os.Getenv("POD_NAME"), os.Getenv("POD_IP"), strings.Join(os.Args[1:], " ")
		said["pid"] = fmt.Sprint(os.Getpid())
		_ = json.NewEncoder(w).Encode(said)
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: ":8080"}
	go func() {
		<-ctx.Done()
		fmt.Println("asked to stop")
		_ = server.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
	time.Sleep(10 * time.Millisecond)
}
