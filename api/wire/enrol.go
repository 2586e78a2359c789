package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Labels of enrolment.
const (
	EnrolProofLabel   = "restic-manager/enrolment-proof/v1"
	EnrolVerdictLabel = "restic-manager/enrolment-verdict/v1"
)

// TokenPrefix begins every enrolment token.
const TokenPrefix = "rmt1_"

// TokenSecretSize is the length of a token's secret, in bytes.
const TokenSecretSize = 32

// Token is what a machine needs to enrol. It is shown once, in the Secret <host>-enrollment; its secret never travels.
type Token struct {
	// URL is the gateway's base URL, https://host[:port].
	URL     string  `json:"url"`
	Host    HostRef `json:"host"`
	HostUID string  `json:"hostUID"`
	// ID is random; Host status publishes only its SHA-256.
	ID     string `json:"id"`
	Secret []byte `json:"secret"`
	// NotAfter is when the token expires.
	NotAfter    time.Time    `json:"notAfter"`
	SigningKeys []SigningKey `json:"signingKeys"`
	// SerialFloor is the smallest serial that the machine may accept.
	SerialFloor int64 `json:"serialFloor"`
	// TLSPins pin the gateway's certificate chain (SPKI, "sha256:<base64>"); empty means the machine's own trust store.
	TLSPins []string `json:"tlsPins,omitempty"`
}

// Validate checks required fields.
func (t *Token) Validate() error {
	var c checks
	c.that(strings.HasPrefix(t.URL, "https://"), "url does not begin with https://")
	c.text("url", t.URL, MaxString)
	c.nested("host", t.Host.Validate())
	c.name("hostUID", t.HostUID)
	c.name("id", t.ID)
	c.size("secret", t.Secret, TokenSecretSize)
	c.that(!t.NotAfter.IsZero(), "notAfter is missing")
	c.that(len(t.SigningKeys) > 0, "signingKeys are missing")
	c.count("signingKeys", len(t.SigningKeys), MaxSignatures)
	for _, k := range t.SigningKeys {
		c.nested("signingKeys", k.Validate())
	}
	c.texts("tlsPins", t.TLSPins, 16)
	return c.err
}

// Encode returns the token as one word: prefix, base64url JSON, and a checksum that tells a damaged paste.
func (t *Token) Encode() (string, error) {
	if err := t.Validate(); err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("token: %w", err)
	}
	body := base64.RawURLEncoding.EncodeToString(raw)
	return TokenPrefix + body + "." + tokenChecksum(body), nil
}

func tokenChecksum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:4])
}

// ErrTokenDamaged is returned for a token that was cut or changed on its way; its text says what to do.
var ErrTokenDamaged = errors.New("the token is damaged: copy the whole line from the enrollment Secret again")

// ParseToken opens a token. It never prints any of it in an error.
func ParseToken(s string) (*Token, error) {
	s = strings.TrimSpace(s)
	rest, ok := strings.CutPrefix(s, TokenPrefix)
	body, sum, found := strings.Cut(rest, ".")
	if !ok || !found || sum != tokenChecksum(body) {
		return nil, ErrTokenDamaged
	}
	raw, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return nil, ErrTokenDamaged
	}
	var t Token
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, ErrTokenDamaged
	}
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("the token is of another version or was changed (%w): ask for a new one", err)
	}
	return &t, nil
}

// TokenIDHash is the hex SHA-256 of a token's id, as published in Host status.
func TokenIDHash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// EnrolRequest asks to pin a machine's keys. POSTed by the agent to EnrolPath, again and again until a verdict is there.
type EnrolRequest struct {
	Host     HostRef  `json:"host"`
	HostUID  string   `json:"hostUID"`
	TokenID  string   `json:"tokenID"`
	Identity Identity `json:"identity"`
	// Proof is EnrolProof with the token's secret.
	Proof        []byte `json:"proof"`
	AgentVersion string `json:"agentVersion"`
	System       System `json:"system"`
}

// Validate checks required fields.
func (r *EnrolRequest) Validate() error {
	var c checks
	c.nested("host", r.Host.Validate())
	c.name("hostUID", r.HostUID)
	c.name("tokenID", r.TokenID)
	c.nested("identity", r.Identity.Validate())
	c.size("proof", r.Proof, sha256.Size)
	c.name("agentVersion", r.AgentVersion)
	c.optionalName("system.os", r.System.OS)
	c.optionalName("system.arch", r.System.Arch)
	c.optionalName("system.hostname", r.System.Hostname)
	return c.err
}

// EnrolProof is the HMAC-SHA256 over label, host UID, token id and both public keys, keyed with the token's secret.
func EnrolProof(secret []byte, hostUID, tokenID string, identity Identity) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, part := range [][]byte{[]byte(EnrolProofLabel), []byte(hostUID), []byte(tokenID), identity.SigningKey, identity.SealingKey} {
		// Length-prefixed, so that no two different inputs give the same bytes.
		fmt.Fprintf(mac, "%d\n", len(part))
		mac.Write(part)
	}
	return mac.Sum(nil)
}

// EnrolResponse answers an EnrolRequest with HTTP 200 (verdict) or 202 (not yet: ask again after RetryAfterSeconds). Refusals by
// the gateway itself are an Error with a 4xx or 5xx status.
type EnrolResponse struct {
	RetryAfterSeconds int `json:"retryAfterSeconds,omitempty"`
	// Verdict is the exact signed JSON of an EnrolVerdict.
	Verdict    string      `json:"verdict,omitempty"`
	Signatures []Signature `json:"signatures,omitempty"`
}

// Validate checks sizes.
func (r *EnrolResponse) Validate() error {
	var c checks
	c.text("verdict", r.Verdict, MaxBundle)
	checkSignatures(&c, r.Signatures)
	c.that(r.RetryAfterSeconds >= 0 && r.RetryAfterSeconds <= 3600, "retryAfterSeconds is %d, want 0 to 3600", r.RetryAfterSeconds)
	return c.err
}

// EnrolReason says why an enrolment was decided so.
type EnrolReason string

// The reasons of an enrolment verdict.
const (
	EnrolApproved     EnrolReason = "Approved"
	EnrolTokenExpired EnrolReason = "TokenExpired"
	EnrolWrongProof   EnrolReason = "WrongProof"
)

// Codes of an Error that ends an enrolment at the gateway.
const (
	// CodeTokenUnknown: wrong host or token, or a newer one was minted. One code for all, so that a stranger learns nothing.
	CodeTokenUnknown Code = "token_unknown"
	// CodeTokenUsed: the token has enrolled a machine with other keys.
	CodeTokenUsed Code = "token_used"
	// CodeTokenExpired: the token is too old.
	CodeTokenExpired Code = "token_expired"
)

// EnrolVerdict is the controllers' signed answer.
type EnrolVerdict struct {
	Label        string      `json:"label"`
	Host         HostRef     `json:"host"`
	HostUID      string      `json:"hostUID"`
	TokenIDHash  string      `json:"tokenIDHash"`
	IdentityHash string      `json:"identityHash"`
	Approved     bool        `json:"approved"`
	Reason       EnrolReason `json:"reason"`
	Message      string      `json:"message"`
	Time         time.Time   `json:"time"`
}

// Validate checks required fields.
func (v *EnrolVerdict) Validate() error {
	var c checks
	c.that(v.Label == EnrolVerdictLabel, "label is %q, want %q", v.Label, EnrolVerdictLabel)
	c.nested("host", v.Host.Validate())
	c.name("hostUID", v.HostUID)
	c.name("tokenIDHash", v.TokenIDHash)
	c.name("identityHash", v.IdentityHash)
	c.name("reason", string(v.Reason))
	c.text("message", v.Message, MaxString)
	return c.err
}

// ParseEnrolVerdict parses and validates a verdict whose signature the caller has verified.
func ParseEnrolVerdict(raw string) (*EnrolVerdict, error) { return parseDocument[EnrolVerdict](raw) }
