package swarm

import (
	"crypto/ed25519"
	"net/netip"
	"strings"
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

func TestIncompleteOptionsAreNamed(t *testing.T) {
	key := make([]byte, ed25519.PublicKeySize)
	good := Options{URL: "https://127.0.0.1:1", Namespace: "shop", Count: 1, SigningKeys: []wire.SigningKey{{KeyID: wire.KeyIDOf(key), PublicKey: key}}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Options){
		"URL":         func(o *Options) { o.URL = "http://127.0.0.1:1" },
		"Namespace":   func(o *Options) { o.Namespace = "" },
		"Count":       func(o *Options) { o.Count = 0 },
		"SigningKeys": func(o *Options) { o.SigningKeys = nil },
		"Rate":        func(o *Options) { o.Rate = -1 },
		"Sources":     func(o *Options) { o.Sources = []netip.Addr{{}} },
		"ulimit":      func(o *Options) { o.Count = 1 << 40 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error is %v, want something with %q", err, says)
		}
	}
}

func TestHostsCarryTheirIdentityAndWhatTheTestWants(t *testing.T) {
	a := newAlone(t, func(o *Options) { o.Count, o.Prefix = 3, "edge-" })
	hosts := a.Hosts()
	if len(hosts) != 3 || hosts[2].Name != "edge-2" || hosts[2].Namespace != "shop" {
		t.Fatalf("hosts are %+v", hosts)
	}
	seen := map[string]bool{}
	for _, h := range hosts {
		seen[h.Spec.Identity.SigningKey], seen[h.Spec.Identity.SealingKey], seen[h.Spec.Repository.URL] = true, true, true
		if h.Spec.Repository.CredentialsSecretRef.Name != a.Secret().Name {
			t.Errorf("%s has the Secret %s", h.Name, h.Spec.Repository.CredentialsSecretRef.Name)
		}
	}
	if len(seen) != 9 {
		t.Error("two hosts share a key or a repository")
	}
}
