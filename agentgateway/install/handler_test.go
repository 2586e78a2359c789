package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

var start = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

const tarball = "restic-manager-agent_1.2.3_linux_amd64.tar.gz"

// meter counts answers.
type meter struct {
	mu sync.Mutex
	by map[string]int
}

func (m *meter) Installer(result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by[result]++
}

// folder writes files, and what must never be served beside them.
func folder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "install")
	for name, content := range map[string]string{
		"install/install.sh": "#!/usr/bin/env bash\n", "install/" + tarball: strings.Repeat("agent", 1000), "install/SHA256SUMS": "sums\n",
		"install/.hidden.gz": "nobody's", "install/notes.md": "nobody's", "install/below/x.gz": "nobody's", "secret.gz": "nobody's",
	} {
		path := filepath.Join(filepath.Dir(dir), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newHandler(t *testing.T, change func(*Options)) (*Handler, *meter) {
	t.Helper()
	files, err := Open(folder(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	m := &meter{by: map[string]int{}}
	o := Options{Files: files, Clock: clocktesting.NewFakeClock(start), Meter: m, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	return New(o), m
}

// ask asks as the gateway's mux does.
func ask(h http.Handler, method, path string, header map[string]string) *httptest.ResponseRecorder {
	mux := http.NewServeMux()
	mux.Handle("GET "+Path, h)
	request := httptest.NewRequest(method, path, nil)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	mux.ServeHTTP(w, request)
	return w.ResponseRecorder
}

// deadlines is a recorder that can be told them, as a connection.
type deadlines struct {
	*httptest.ResponseRecorder
	last time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error { d.last = at; return nil }

func TestFilesAreServedWithTheirTypes(t *testing.T) {
	h, m := newHandler(t, nil)
	for name, want := range map[string]string{
		Script: "text/x-shellscript; charset=utf-8", tarball: "application/gzip", "SHA256SUMS": "text/plain; charset=utf-8",
	} {
		content, err := os.ReadFile(filepath.Join(h.o.Files.root.Name(), name))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		got := ask(h, http.MethodGet, Path+name, nil)
		if got.Code != http.StatusOK || !bytes.Equal(got.Body.Bytes(), content) {
			t.Errorf("%s: %d with %d bytes", name, got.Code, got.Body.Len())
		}
		if got.Header().Get("Content-Type") != want || got.Header().Get("ETag") != `"`+hex.EncodeToString(sum[:])+`"` {
			t.Errorf("%s: %v", name, got.Header())
		}
		head := ask(h, http.MethodHead, Path+name, nil)
		if head.Code != http.StatusOK || head.Body.Len() != 0 || head.Header().Get("Content-Length") == "" {
			t.Errorf("HEAD of %s: %d, %d bytes, %v", name, head.Code, head.Body.Len(), head.Header())
		}
		if again := ask(h, http.MethodGet, Path+name, map[string]string{"If-None-Match": got.Header().Get("ETag")}); again.Code != http.StatusNotModified {
			t.Errorf("%s with its ETag: %d", name, again.Code)
		}
	}
	if !maps.Equal(m.by, map[string]int{"served": 9}) {
		t.Errorf("counted %v", m.by)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	h, _ := newHandler(t, nil)
	for _, path := range []string{
		Path, Path + "other.gz", Path + ".hidden.gz", Path + "notes.md", Path + "below/x.gz", Path + "below/", Path + "..%2fsecret.gz",
		Path + "%2e%2e/secret.gz", Path + "../secret.gz", Path + "//" + tarball, Path + tarball + "/", Path + tarball + "%00",
	} {
		got := ask(h, http.MethodGet, path, nil)
		body := got.Body.String()
		if got.Code == http.StatusOK || strings.Contains(body, "nobody's") || strings.Contains(body, tarball+"\n") {
			t.Errorf("%s: %d %q", path, got.Code, body)
		}
	}
	if got := ask(h, http.MethodPost, Path+Script, nil); got.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", got.Code)
	}
}

func TestAGatewayWithoutFilesSaysWhatToDo(t *testing.T) {
	h, _ := newHandler(t, func(o *Options) { o.Files = nil })
	got := ask(h, http.MethodGet, Path+Script, nil)
	if got.Code != http.StatusNotFound || !strings.Contains(got.Body.String(), "--install-dir") {
		t.Errorf("%d %q", got.Code, got.Body)
	}
}

func TestAnAddressThatAsksWithoutPauseIsTurnedAway(t *testing.T) {
	h, m := newHandler(t, func(o *Options) { o.Rate, o.Burst = 1, 3 })
	for range 3 {
		if got := ask(h, http.MethodGet, Path+Script, nil); got.Code != http.StatusOK {
			t.Fatalf("%d within the burst", got.Code)
		}
	}
	got := ask(h, http.MethodGet, Path+Script, nil)
	if got.Code != http.StatusTooManyRequests || got.Header().Get("Retry-After") == "" {
		t.Errorf("beyond the burst: %d %v", got.Code, got.Header())
	}
	if m.by["busy"] != 1 {
		t.Errorf("counted %v", m.by)
	}
}

func TestDownloadsBeyondTheirPlacesAreTurnedAway(t *testing.T) {
	h, _ := newHandler(t, func(o *Options) { o.Downloads = 2 })
	var leaves []func()
	for _, remote := range []string{"203.0.113.1:1", "203.0.113.2:1"} {
		leave, err := h.places.Take(remote)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if got := ask(h, http.MethodGet, Path+Script, nil); got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", got.Code, got.Header())
	}
	for _, leave := range leaves {
		leave()
	}
	if got := ask(h, http.MethodGet, Path+Script, nil); got.Code != http.StatusOK {
		t.Errorf("%d when there is room again", got.Code)
	}
}

func TestAllDownloadsShareABandwidth(t *testing.T) {
	fake := clocktesting.NewFakeClock(start)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	p := newPaced(w, t.Context(), rate.NewLimiter(chunk, chunk), fake)
	done := make(chan error, 1)
	go func() {
		_, err := p.Write(make([]byte, 3*chunk))
		done <- err
	}()
	for range 2 { // the first chunk is the burst
		for !fake.HasWaiters() {
			select {
			case err := <-done:
				t.Fatalf("written at once: %v", err)
			default:
			}
		}
		fake.Step(time.Second)
	}
	if err := <-done; err != nil || w.Body.Len() != 3*chunk {
		t.Errorf("%d bytes, %v", w.Body.Len(), err)
	}
	if want := start.Add(2*time.Second + stall); !w.last.Equal(want) {
		t.Errorf("the last chunk must be out by %v, want %v", w.last, want)
	}
	fake.SetTime(start.Add(longest))
	if _, err := p.Write([]byte("x")); err != nil || !w.last.Equal(start.Add(longest)) {
		t.Errorf("a download may last until %v (%v)", w.last, err)
	}
}

func TestADownloadEndsWithItsReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := newPaced(&deadlines{ResponseRecorder: httptest.NewRecorder()}, ctx, rate.NewLimiter(1, chunk), clocktesting.NewFakeClock(start))
	if n, err := p.Write(make([]byte, 2*chunk)); err == nil || n != chunk {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestAFolderWithoutAnInstallerIsRefused(t *testing.T) {
	for says, prepare := range map[string]func(dir string) error{
		"there is no install.sh": func(string) error { return nil },
		"escapes":                func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "x.txt")) },
	} {
		dir := t.TempDir()
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there opens")
	}
}

// TestADownloadOverARealConnection looks at what recorders cannot: the length, a range, and deadlines of a connection.
func TestADownloadOverARealConnection(t *testing.T) {
	h, _ := newHandler(t, func(o *Options) { o.Clock = clock.RealClock{} })
	server := httptest.NewServer(h)
	defer server.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+Path+tarball, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Range", "bytes=5-9")
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusPartialContent || string(body) != "agent" {
		t.Errorf("%d %q %v", response.StatusCode, body, err)
	}
}
