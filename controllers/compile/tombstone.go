package compile

import (
	"slices"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Tombstone returns the set that ends the work of a machine whose Host was removed, without serial and revision. keepCredentials lets the machine keep
// what opens its repository, for export-credentials alone. Keys and pins stay, so that a Host which comes back can be followed.
func Tombstone(host wire.HostRef, hostUID, identityHash string, keepCredentials bool, keys []wire.SigningKey, pins []string) wire.ScheduleSet {
	return wire.ScheduleSet{
		Label:           wire.ScheduleSetLabel,
		Host:            host,
		HostUID:         hostUID,
		IdentityHash:    identityHash,
		Tombstone:       true,
		KeepCredentials: keepCredentials,
		SigningKeys:     sortedKeys(keys),
		TLSPins:         slices.Sorted(slices.Values(pins)),
	}
}
