package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/restic-manager/restic-manager/api/wire"
)

const revisionLabel = "restic-manager/revision/v1"

// revisionSize is how many bytes of the hash make a revision: enough that no two sets of a machine share one by chance, and few enough for a column
// of kubectl. Nothing is trusted because of a revision.
const revisionSize = 8

// Revision names what a set says: the first 16 hex digits of the SHA-256 over its content, without serial, revision and the hashes of sealed credentials,
// and over the digest of each credential by its name. The digests are keyed (a plain hash of a password in a public place would be an oracle).
func Revision(set wire.ScheduleSet, credentialDigests map[string]string) (string, error) {
	set.Serial, set.Revision, set.Credentials = 0, "", nil
	// Both are canonical: struct fields come in a fixed order, map keys sorted.
	content, err := json.Marshal(set)
	if err != nil {
		return "", fmt.Errorf("revision: %w", err)
	}
	digests, err := json.Marshal(credentialDigests)
	if err != nil {
		return "", fmt.Errorf("revision: %w", err)
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(revisionLabel), content, digests} {
		// Length-prefixed, so that no two different inputs give the same bytes.
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil)[:revisionSize]), nil
}
