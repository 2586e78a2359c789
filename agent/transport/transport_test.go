package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/restic-manager/restic-manager/api/tlspin"
)

// authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key}
}

// issue returns a server's chain: leaf and CA.
func (a *authority) issue(t *testing.T, notAfter time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: notAfter}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw, a.certificate.Raw}, PrivateKey: key, Leaf: leaf}
}

func serve(t *testing.T, certificate tls.Certificate, maxVersion uint16) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "here")
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: maxVersion}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, url string, pins ...string) error {
	t.Helper()
	client, err := NewClient(url, pins)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func TestWhomTheAgentTrusts(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	good := ours.issue(t, soon, "127.0.0.1")
	elsewhere := ours.issue(t, soon, "other.example.com")
	expired := ours.issue(t, past, "127.0.0.1")
	forged := theirs.issue(t, soon, "127.0.0.1")
	// A stranger presents our CA's certificate behind a leaf that it did not sign.
	stolen := forged
	stolen.Certificate = [][]byte{forged.Certificate[0], ours.certificate.Raw}
	// A server key that happens to be pinned may not act as a CA.
	leafAsCA := forged
	leafAsCA.Certificate = [][]byte{forged.Certificate[0], good.Certificate[0]}

	ca, leaf := tlspin.Pin(ours.certificate), tlspin.Pin(good.Leaf)
	for _, tt := range []struct {
		name   string
		served tls.Certificate
		max    uint16
		pins   []string
		want   Problem
	}{
		{"the pinned CA issued the certificate", good, 0, []string{ca}, ""},
		{"the leaf is pinned", good, 0, []string{leaf}, ""},
		{"one of several pins matches", good, 0, []string{tlspin.Pin(theirs.certificate), ca}, ""},
		{"the leaf is pinned, its name and validity do not count", expired, 0, []string{tlspin.Pin(expired.Leaf)}, ""},
		{"another CA issued the certificate", forged, 0, []string{ca}, ProblemPin},
		{"the pinned CA is presented, and signed nothing", stolen, 0, []string{ca}, ProblemUntrusted},
		{"a pinned leaf is presented as a CA", leafAsCA, 0, []string{leaf}, ProblemPin},
		{"the pinned CA issued it for another name", elsewhere, 0, []string{ca}, ProblemName},
		{"the pinned CA issued it, and it expired", expired, 0, []string{ca}, ProblemValidity},
		{"no pin, a CA that the machine does not know", good, 0, nil, ProblemUntrusted},
		{"TLS 1.1 alone is spoken", good, tls.VersionTLS11, []string{ca}, ProblemOther},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, tt.served, tt.max)
			err := get(t, url, tt.pins...)
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("trusted")
			}
			problem, sentence := Explain(err, url)
			if problem != tt.want {
				t.Errorf("problem is %s, want %s: %v", problem, tt.want, err)
			}
			if !strings.HasPrefix(sentence, "cannot reach the gateway 127.0.0.1:") {
				t.Errorf("sentence is %q", sentence)
			}
		})
	}
}

func TestAPinThatIsNoneIsToldAtOnce(t *testing.T) {
	for _, pin := range []string{"", "AAAA", "sha256:AAAA", "sha256:%%%", "sha1:AAAA"} {
		if _, err := NewClient("https://localhost", []string{pin}); err == nil || !strings.Contains(err.Error(), "sha256:<base64") {
			t.Errorf("pin %q: error is %v", pin, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	ca := newAuthority(t)
	url := serve(t, ca.issue(t, time.Now().Add(time.Hour), "127.0.0.1"), 0)
	client, err := NewClient(url, []string{tlspin.Pin(ca.certificate)})
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Get(url + "/away")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusFound {
		t.Errorf("status is %d, want the redirect itself", response.StatusCode)
	}
}

func TestNetworkProblemsAreTold(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "https://" + listener.Addr().String()
	listener.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tt := range []struct {
		name, url string
		want      Problem
	}{
		{"nothing listens", closed, ProblemRefused},
		{"plain HTTP answers", strings.Replace(plain.URL, "http:", "https:", 1), ProblemNotTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, second := get(t, tt.url), get(t, tt.url)
			problem, sentence := Explain(first, tt.url)
			if problem != tt.want {
				t.Errorf("problem is %s, want %s: %v", problem, tt.want, first)
			}
			if _, again := Explain(second, tt.url); again != sentence {
				t.Errorf("the sentence changed from %q to %q", sentence, again)
			}
		})
	}
	if p, _ := Explain(&net.DNSError{Name: "gateway.invalid", IsNotFound: true}, "https://gateway.invalid"); p != ProblemDNS {
		t.Errorf("problem is %s, want %s", p, ProblemDNS)
	}
	if p, s := Explain(&net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, "https://g"); p != ProblemProxy || !strings.Contains(s, "HTTPS_PROXY") {
		t.Errorf("problem is %s: %s", p, s)
	}
}
