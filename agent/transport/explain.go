package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/restic-manager/restic-manager/api/tlspin"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Problem classifies why a gateway cannot be reached.
type Problem string

// The problems.
const (
	ProblemDNS         Problem = "NameNotFound"
	ProblemRefused     Problem = "ConnectionRefused"
	ProblemUnreachable Problem = "Unreachable"
	ProblemTimeout     Problem = "Timeout"
	ProblemProxy       Problem = "Proxy"
	ProblemPin         Problem = "PinMismatch"
	ProblemUntrusted   Problem = "UntrustedCertificate"
	ProblemName        Problem = "CertificateForAnotherName"
	ProblemValidity    Problem = "CertificateNotValidNow"
	ProblemNotTLS      Problem = "NotTLS"
	ProblemCut         Problem = "ConnectionCut"
	ProblemOther       Problem = "Other"
)

// Explain turns an error of a connection attempt into a problem and a sentence that says what to do. The sentence is the same for the
// same problem (it holds no ephemeral port), so that callers can tell whether it changed.
func Explain(err error, baseURL string) (Problem, string) {
	where := baseURL
	if u, parseErr := url.Parse(baseURL); parseErr == nil {
		where = u.Host
	}
	say := func(p Problem, format string, args ...any) (Problem, string) {
		return p, fmt.Sprintf("cannot reach the gateway %s: ", where) + fmt.Sprintf(format, args...)
	}

	var op *net.OpError
	if errors.As(err, &op) && op.Op == "proxyconnect" {
		return say(ProblemProxy, "the proxy of HTTPS_PROXY does not answer (%s); correct the variable, or add the gateway to NO_PROXY", root(err))
	}
	var pin *tlspin.Error
	if errors.As(err, &pin) {
		return say(ProblemPin, "%s. Either somebody answers in its place, or it has a new certificate: ask its administrators, and enrol again with a new token if it has", pin)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return say(ProblemDNS, "the name %s cannot be resolved; check the name and this machine's DNS", dns.Name)
	}
	var name x509.HostnameError
	if errors.As(err, &name) {
		return say(ProblemName, "its certificate is not for this name; the gateway must be addressed by a name that stands in its certificate")
	}
	var authority x509.UnknownAuthorityError
	if errors.As(err, &authority) {
		return say(ProblemUntrusted, "this machine does not trust the CA of its certificate; install the CA in the machine's trust store, or enrol with a token that pins it")
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		if invalid.Reason == x509.Expired {
			return say(ProblemValidity, "its certificate is expired or not yet valid; check this machine's clock, then the certificate")
		}
		return say(ProblemUntrusted, "its certificate is not valid (%s)", invalid.Error())
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return say(ProblemNotTLS, "something else than TLS answers there; check host and port")
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return say(ProblemRefused, "connection refused; nothing listens there: check host and port, and whether the gateway runs")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return say(ProblemUnreachable, "there is no route to it; check this machine's network")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return say(ProblemTimeout, "no answer in time; a firewall may drop the packets")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), strings.HasSuffix(err.Error(), "EOF"):
		return say(ProblemCut, "the connection was closed before there was an answer")
	}
	return say(ProblemOther, "%s", root(err))
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// root is the innermost text of an error: without addresses, which hold ephemeral ports.
func root(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// ErrorOf reads the gateway's own error from the body of an HTTP answer: a wire.Error, alone or in an envelope. Nil when the body is
// something else, as a proxy's page.
func ErrorOf(body []byte) *wire.Error {
	var e wire.Error
	if json.Unmarshal(body, &e) == nil && e.Code != "" && e.Validate() == nil {
		return &e
	}
	if envelope, err := wire.Decode(body); err == nil && envelope.Type == wire.TypeError {
		if m, err := envelope.Open(); err == nil {
			return m.(*wire.Error)
		}
	}
	return nil
}
