package enrol

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/restic-manager/restic-manager/agentgateway/internal/pace"
	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	maxBody        = 64 << 10
	requestTimeout = 15 * time.Second
	// askAgain is how long a machine waits before it asks for the verdict again, in seconds.
	askAgain = 1
)

// Events tells people about refusals.
type Events interface {
	// Refused leaves an Event on a Host; the same id is told once.
	Refused(ctx context.Context, host *v1alpha1.Host, id, note string) error
}

// Meter counts.
type Meter interface {
	Wrote(resource string)
	// Enrolment counts an answer: pending, verdict, or the code of an error.
	Enrolment(result string)
}

// Options of a Handler. All but the rates are required.
type Options struct {
	Client client.Client
	Live   client.Reader
	Events Events
	Clock  clock.PassiveClock
	Meter  Meter
	Logger *slog.Logger
	// RemoteRate is requests per second from one remote address, by default 5 with a burst of 50. HostRate is those for one host: of each remote
	// address, and apart from that of all who showed a token of the host; by default 3 with a burst of 30.
	RemoteRate, HostRate   float64
	RemoteBurst, HostBurst int
}

// Handler is the http.Handler of wire.EnrolPath.
type Handler struct {
	o      Options
	remote *pace.Limits
	// asked is by host and remote address, since a host's name is no secret: a stranger who uses it spends nothing of what is the machine's. proven is by
	// host, for who showed a token of it.
	asked, proven *pace.Limits
}

// New returns a Handler.
func New(o Options) *Handler {
	if o.RemoteRate == 0 {
		o.RemoteRate, o.RemoteBurst = 5, 50
	}
	if o.HostRate == 0 {
		o.HostRate, o.HostBurst = 3, 30
	}
	return &Handler{o: o, remote: pace.New(o.RemoteRate, o.RemoteBurst), asked: pace.New(o.HostRate, o.HostBurst), proven: pace.New(o.HostRate, o.HostBurst)}
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	wire   wire.Error
}

func (r *refusal) Error() string { return r.wire.Error() }

func refuse(status int, code wire.Code, message string) *refusal {
	return &refusal{status, wire.Error{Code: code, Message: message}}
}

var (
	unknown = refuse(http.StatusForbidden, wire.CodeTokenUnknown,
		"the token is not known: the Host was deleted, or a newer token was made; copy the command from the enrollment Secret again")
	used = refuse(http.StatusConflict, wire.CodeTokenUsed,
		"the token has enrolled a machine with other keys already; ask for a new token")
	expired = refuse(http.StatusGone, wire.CodeTokenExpired, "the token has expired; ask for a new token")
	tooMany = &refusal{http.StatusTooManyRequests, wire.Error{Code: wire.CodeBusy, Message: "too many enrollment requests", RetryAfterSeconds: 10}}
)

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	remote, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		remote = r.RemoteAddr
	}
	if !h.remote.Allow(remote, h.o.Clock.Now()) {
		h.answer(w, nil, tooMany)
		return
	}
	var request wire.EnrolRequest
	if err := decode(http.MaxBytesReader(w, r.Body, maxBody), &request); err != nil {
		h.answer(w, nil, refuse(http.StatusBadRequest, wire.CodeBadMessage, err.Error()))
		return
	}
	response, err := h.decide(ctx, remote, &request)
	h.log(remote, &request, response, err)
	h.answer(w, response, err)
}

func decode(body io.Reader, request *wire.EnrolRequest) error {
	raw, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("the request cannot be read, or is over %d bytes", maxBody)
	}
	if err := json.Unmarshal(raw, request); err != nil {
		return errors.New("the request is not JSON of the expected form")
	}
	return request.Validate()
}

func (h *Handler) log(remote string, request *wire.EnrolRequest, response *wire.EnrolResponse, err error) {
	log := h.o.Logger.With("host", request.Host.String(), "remote", remote, "identityHash", request.Identity.Hash())
	switch {
	case err != nil:
		log.Warn("enrolment refused", "reason", err)
	case response.Verdict != "":
		log.Info("enrolment verdict handed out")
	default:
		log.Debug("enrolment is waiting for its verdict")
	}
}

func (h *Handler) answer(w http.ResponseWriter, response *wire.EnrolResponse, err error) {
	status, result := http.StatusAccepted, "pending"
	var body any = response
	var r *refusal
	switch {
	case errors.As(err, &r):
		status, result, body = r.status, string(r.wire.Code), &r.wire
		if r.wire.RetryAfterSeconds > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(r.wire.RetryAfterSeconds))
		}
	case err != nil:
		status, result = http.StatusServiceUnavailable, string(wire.CodeBusy)
		body = &wire.Error{Code: wire.CodeBusy, Message: "the request could not be recorded; it will be tried again", RetryAfterSeconds: 5}
		w.Header().Set("Retry-After", "5")
	case response.Verdict != "":
		status, result = http.StatusOK, "verdict"
	}
	h.o.Meter.Enrolment(result)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the peer may be gone
}

// decide answers a valid request.
func (h *Handler) decide(ctx context.Context, remote string, request *wire.EnrolRequest) (*wire.EnrolResponse, error) {
	if len(validation.IsDNS1123Label(request.Host.Namespace)) > 0 || len(validation.IsDNS1123Subdomain(request.Host.Name)) > 0 {
		return nil, unknown
	}
	if !h.asked.Allow(request.Host.String()+" "+remote, h.o.Clock.Now()) {
		return nil, tooMany
	}
	var host v1alpha1.Host
	err := h.o.Live.Get(ctx, client.ObjectKey{Namespace: request.Host.Namespace, Name: request.Host.Name}, &host)
	if apierrors.IsNotFound(err) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	response, err := h.match(ctx, &host, request)
	var r *refusal
	if errors.As(err, &r) {
		h.tell(ctx, &host, remote, r)
	}
	return response, err
}

func (h *Handler) match(ctx context.Context, host *v1alpha1.Host, request *wire.EnrolRequest) (*wire.EnrolResponse, error) {
	e := host.Status.Enrollment
	if e == nil || string(host.UID) != request.HostUID {
		return nil, unknown
	}
	hash := wire.TokenIDHash(request.TokenID)
	current, before := equal(e.TokenIDHash, hash), equal(e.UsedTokenIDHash, hash)
	if response := verdictFor(e.Verdict, host.Status.EnrollmentRequest, hash, request); response != nil {
		return response, nil
	}
	switch {
	case current && e.ExpiresAt != nil && !h.o.Clock.Now().Before(e.ExpiresAt.Time):
		return nil, expired
	case current:
	case before && pinned(host, request):
		// Pinned, and the verdict is not written yet, or was overwritten: the controllers give it once more.
	case before:
		return nil, used
	default:
		return nil, unknown
	}
	if !h.proven.Allow(request.Host.String(), h.o.Clock.Now()) {
		return nil, tooMany
	}
	if err := h.record(ctx, host, hash, request); err != nil {
		return nil, err
	}
	return &wire.EnrolResponse{RetryAfterSeconds: askAgain}, nil
}

// equal compares in constant time; an empty hash equals nothing.
func equal(published, shown string) bool {
	return published != "" && subtle.ConstantTimeCompare([]byte(published), []byte(shown)) == 1
}

func keys(request *wire.EnrolRequest) (signing, sealing string) {
	return base64.StdEncoding.EncodeToString(request.Identity.SigningKey), base64.StdEncoding.EncodeToString(request.Identity.SealingKey)
}

func pinned(host *v1alpha1.Host, request *wire.EnrolRequest) bool {
	signing, sealing := keys(request)
	i := host.Spec.Identity
	return i != nil && i.SigningKey == signing && i.SealingKey == sealing
}

// verdictFor returns the controllers' answer when it is for this token and these keys; that a proof was wrong says nothing of another proof.
// Its signature is for the machine to check.
func verdictFor(d *v1alpha1.SignedDocument, recorded *v1alpha1.EnrollmentRequest, hash string, request *wire.EnrolRequest) *wire.EnrolResponse {
	if d == nil {
		return nil
	}
	verdict, err := wire.ParseEnrolVerdict(d.Document)
	if err != nil || !equal(verdict.TokenIDHash, hash) || verdict.IdentityHash != request.Identity.Hash() || verdict.HostUID != request.HostUID {
		return nil
	}
	if verdict.Reason == wire.EnrolWrongProof && recorded != nil && recorded.Proof != base64.StdEncoding.EncodeToString(request.Proof) {
		return nil
	}
	response := &wire.EnrolResponse{Verdict: d.Document}
	for _, s := range d.Signatures {
		value, err := base64.StdEncoding.DecodeString(s.Value)
		if err != nil {
			continue
		}
		response.Signatures = append(response.Signatures, wire.Signature{KeyID: s.KeyID, Value: value})
	}
	return response
}

// record writes the request into Host status, unless it stands there already.
func (h *Handler) record(ctx context.Context, host *v1alpha1.Host, hash string, request *wire.EnrolRequest) error {
	signing, sealing := keys(request)
	wish := v1alpha1.EnrollmentRequest{TokenIDHash: hash, SigningKey: signing, SealingKey: sealing,
		Proof: base64.StdEncoding.EncodeToString(request.Proof), Hostname: request.System.Hostname, ReceivedAt: metav1.NewTime(h.o.Clock.Now())}
	if old := host.Status.EnrollmentRequest; old != nil {
		same := *old
		same.ReceivedAt = wish.ReceivedAt
		if same == wish {
			return nil
		}
	}
	before := host.DeepCopy()
	host.Status.EnrollmentRequest = &wish
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := h.o.Client.Status().Patch(ctx, host, patch, client.FieldOwner(v1alpha1.ManagerGateway))
	switch {
	case apierrors.IsConflict(err):
		return nil // the Host changed meanwhile; the machine asks again in a second, and is looked at anew
	case apierrors.IsNotFound(err):
		return unknown
	case err != nil:
		return err
	}
	h.o.Meter.Wrote("hosts")
	return nil
}

// tell leaves an Event, one per reason and hour: it is strangers who cause them.
func (h *Handler) tell(ctx context.Context, host *v1alpha1.Host, remote string, r *refusal) {
	if r.wire.Code == wire.CodeBusy {
		return
	}
	id := string(r.wire.Code) + h.o.Clock.Now().UTC().Format("2006-01-02T15")
	note := fmt.Sprintf("An enrollment from %s was refused: %s.", remote, r.wire.Message)
	if err := h.o.Events.Refused(ctx, host, id, note); err != nil {
		h.o.Logger.Warn("event not written", "host", host.Namespace+"/"+host.Name, "reason", v1alpha1.EventEnrolmentRefused, "error", err)
	}
}
