package wire

// CredentialHash binds a sealed credential to the signed set.
type CredentialHash struct {
	Name string `json:"name"`
	// SHA256 is over the sealed bytes, in hex.
	SHA256 string `json:"sha256"`
}

// SealedCredential is a Credential sealed to the machine.
type SealedCredential struct {
	Name string `json:"name"`
	// Sealed is what seal.Seal returned.
	Sealed []byte `json:"sealed"`
}

// Credential is the plaintext: environment variables for restic. It exists only in memory and inside sealed bytes.
type Credential struct {
	Environment map[string]string `json:"environment"`
	// ClientCertificate is PEM, certificate and private key, for restic's --tls-client-cert.
	ClientCertificate string `json:"clientCertificate,omitempty"`
}

// Names of credentials.
const (
	// CredentialRepository opens the host's own repository. It travels in the set.
	CredentialRepository = "repository"
	// CredentialAdmin may delete. It travels in a command and is never stored.
	CredentialAdmin = "admin"
	// CredentialTarget opens another host's repository without the right to delete. It travels in a command and is never stored.
	CredentialTarget = "target"
)

// MaxCredentials bounds the credentials of a set, MaxSealed one of them, in bytes.
const (
	MaxCredentials = 16
	MaxSealed      = 64 << 10
)

func checkHashes(c *checks, hashes []CredentialHash) {
	c.count("credentials", len(hashes), MaxCredentials)
	for _, h := range hashes {
		c.name("credentials.name", h.Name)
		c.that(len(h.SHA256) == 64, "credentials.sha256 is not a SHA-256 in hex")
	}
}

func checkSealed(c *checks, credentials []SealedCredential) {
	c.count("credentials", len(credentials), MaxCredentials)
	for _, s := range credentials {
		c.name("credentials.name", s.Name)
		c.that(len(s.Sealed) > 0 && len(s.Sealed) <= MaxSealed, "credentials.sealed has %d bytes, want 1 to %d", len(s.Sealed), MaxSealed)
	}
}
