package install

import (
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
)

// Path is below which files are served.
const Path = "/install/"

const (
	// retryAfter is when who is turned away should come again, in seconds.
	retryAfter = 10
	help       = "https://github.com/restic-manager/restic-manager/blob/main/docs/machine.md"
)

// Meter counts.
type Meter interface {
	// Installer counts an answer: served, not_found or busy.
	Installer(result string)
}

// Options of a Handler. Clock, Meter and Logger are required.
type Options struct {
	// Files are served; nil: none, and who asks is told what to do.
	Files *Files
	// Downloads is how many are served at once, default 32.
	Downloads int
	// Rate is requests per second from one remote address, by default 5 with a Burst of 100: machines behind one address come together.
	Rate  float64
	Burst int
	// Bandwidth of all downloads together, in bytes per second. Default 32 MiB.
	Bandwidth int
	Clock     clock.WithTicker
	Meter     Meter
	Logger    *slog.Logger
}

// Handler is the http.Handler of Path.
type Handler struct {
	o         Options
	remote    *pace.Limits
	places    *pace.Places
	bandwidth *rate.Limiter
}

// New returns a Handler.
func New(o Options) *Handler {
	if o.Downloads == 0 {
		o.Downloads = 32
	}
	if o.Rate == 0 {
		o.Rate, o.Burst = 5, 100
	}
	if o.Bandwidth == 0 {
		o.Bandwidth = 32 << 20
	}
	return &Handler{o: o, remote: pace.New(o.Rate, o.Burst), places: pace.NewPlaces(o.Downloads), bandwidth: rate.NewLimiter(rate.Limit(o.Bandwidth), chunk)}
}

// ServeHTTP implements http.Handler, for GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !h.remote.Allow(address(r.RemoteAddr), h.o.Clock.Now()) {
		h.busy(w, http.StatusTooManyRequests, "too many requests from this address")
		return
	}
	if h.o.Files == nil {
		h.missing(w, "this gateway does not serve the installer: it was started without --install-dir. The agent can be installed from a package: "+help)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, Path)
	known, found := h.o.Files.byName[name]
	if !found {
		h.missing(w, "there is no such file here. "+Path+Script+" is the installer; it fetches the files of its own version. More: "+help)
		return
	}
	leave, err := h.places.Take(r.RemoteAddr)
	if err != nil {
		h.busy(w, http.StatusServiceUnavailable, "many machines are being installed: "+err.Error())
		return
	}
	defer leave()
	h.serve(w, r, name, known)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, name string, known file) {
	opened, err := h.o.Files.root.Open(name)
	if err != nil {
		h.o.Logger.Error("a file of the installer cannot be opened any more", "file", name, "error", err)
		h.missing(w, "the file cannot be read: see the gateway's log")
		return
	}
	defer opened.Close()
	w.Header().Set("Content-Type", contentType(name))
	w.Header().Set("ETag", known.etag)
	w.Header().Set("Cache-Control", "no-cache") // ask again, and hear that it is the same
	h.o.Meter.Installer("served")
	http.ServeContent(newPaced(w, r.Context(), h.bandwidth, h.o.Clock), r, "", known.changed, opened)
}

func (h *Handler) missing(w http.ResponseWriter, text string) {
	h.o.Meter.Installer("not_found")
	http.Error(w, text, http.StatusNotFound)
}

func (h *Handler) busy(w http.ResponseWriter, status int, text string) {
	h.o.Meter.Installer("busy")
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	http.Error(w, text, status)
}

func address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}

func contentType(name string) string {
	switch {
	case name == Script:
		return "text/x-shellscript; charset=utf-8"
	case strings.HasSuffix(name, ".gz"):
		return "application/gzip"
	}
	return "text/plain; charset=utf-8"
}

const (
	// chunk is what is written at once, in bytes, and the burst of the bandwidth.
	chunk = 64 << 10
	// stall is how long one chunk may take, and longest all of a download: a gateway is not a file server for who reads a byte a minute.
	stall   = 30 * time.Second
	longest = 15 * time.Minute
)
