package agent

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/vault"
	"github.com/restic-manager/restic-manager/api/wire"
)

// Export is what a person needs to open this machine's repository with plain restic.
type Export struct {
	Host wire.HostRef
	// ResticHost is restic's --host of this machine's snapshots; empty when the set is lost.
	ResticHost string
	// URL of the repository, CABundle its certificates (PEM, may be empty).
	URL      string
	CABundle string
	// Credential opens the repository. Previous is the one before, while the present one was not seen to open it; nil otherwise.
	Credential wire.Credential
	Previous   *wire.Credential
	// Problem says what could not be read, when the rest was enough.
	Problem string
}

// ExportCredentials reads what the agent of this machine keeps, beside a running one, and changes nothing. The set and the vault hold the credential each;
// one of them is enough. What it returns is secret.
func ExportCredentials(c *config.Config) (Export, error) {
	identity, err := c.PublicIdentity()
	if err != nil {
		return Export{}, err
	}
	e := Export{Host: c.Ref()}
	kept, vaultErr := vault.Open(filepath.Join(c.StateDir, "secrets.enc"), c.Identity.SealingKey)
	stored, setErr := desired.Read(desired.Config{Dir: c.StateDir, Host: c.Ref(), IdentityHash: identity.Hash(), SealingKey: c.Identity.SealingKey, SerialFloor: c.SerialFloor})
	switch {
	case setErr == nil && stored.Set.Tombstone:
		if vaultErr == nil && stored.Set.KeepCredentials {
			if credential, found := kept.Get(wire.CredentialRepository); found {
				e.ResticHost, e.URL, e.Credential = c.Ref().ResticHost(), kept.Repository(), credential
				if previous, waits := kept.Get(vault.Previous); waits {
					e.Previous = &previous
				}
				e.Problem = fmt.Sprintf("the Host %s was removed in the cluster; this was kept, since no other copy of the password is confirmed. Keep one, then remove %s", c.Ref(), c.StateDir)
				return e, nil
			}
		}
		return Export{}, fmt.Errorf("the Host %s was removed in the cluster, and its credentials were deleted on this machine then: take them from the Secret or from where its owner keeps them", c.Ref())
	case setErr == nil:
		e.ResticHost, e.URL, e.CABundle = stored.Set.ResticHost, stored.Set.Repository.URL, stored.Set.Repository.CABundle
		found := false
		if e.Credential, found = stored.Credentials[stored.Set.Repository.Credential]; !found {
			return Export{}, errors.New("the schedule set on this machine holds no credential for the repository")
		}
		if vaultErr != nil {
			e.Problem = fmt.Sprintf("%v; the credential of the schedule set is given instead, and a former one that may be there is lost", vaultErr)
		} else if previous, waits := kept.Get(vault.Previous); waits && kept.Repository() == e.URL {
			e.Previous = &previous
		}
		return e, nil
	case vaultErr != nil:
		return Export{}, fmt.Errorf("neither the schedule set nor the credentials of this machine can be read from %s: %w; %w", c.StateDir, setErr, vaultErr)
	}
	found := false
	if e.Credential, found = kept.Get(wire.CredentialRepository); !found {
		if errors.Is(setErr, desired.ErrNoSet) {
			return Export{}, fmt.Errorf("this machine has no credentials yet: no schedule set ever reached it (state folder %s); start the agent, or see in `restic-manager-agent status` why none comes", c.StateDir)
		}
		return Export{}, fmt.Errorf("the schedule set on this machine cannot be read, and there are no credentials beside it: %w", setErr)
	}
	if previous, waits := kept.Get(vault.Previous); waits {
		e.Previous = &previous
	}
	e.URL = kept.Repository()
	e.Problem = fmt.Sprintf("the schedule set on this machine cannot be read: %v; what is given comes from the stored credentials alone", setErr)
	return e, nil
}
