package signing

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// Phase of a rotation.
type Phase string

// Phases, in their order; see the package's documentation.
const (
	PhaseAnnounced Phase = "Announced"
	PhaseRetired   Phase = "Retired"
	PhaseDone      Phase = "Done"
)

// maxNamed bounds the machines that a record names.
const maxNamed = 10

// Record is what AnnotationSigningKeyRotation holds, for people and for the next leader.
type Record struct {
	// Request is the value of AnnotationRotateSigningKey that it answers.
	Request string `json:"request"`
	Phase   Phase  `json:"phase"`
	// NewKey and OldKeys are ids.
	NewKey  string   `json:"newKey"`
	OldKeys []string `json:"oldKeys,omitempty"`
	// Since is when the phase began.
	Since time.Time `json:"since"`
	// Hosts are enrolled; Waiting of them have not applied a set of this phase, and WaitingFor names some (namespace/name).
	Hosts      int      `json:"hosts"`
	Waiting    int      `json:"waiting"`
	WaitingFor []string `json:"waitingFor,omitempty"`
	// Next says what comes, and what a person can do.
	Next string `json:"next,omitempty"`
}

// Underway tells whether machines are waited for.
func (r *Record) Underway() bool { return r != nil && r.Phase != PhaseDone }

// parseRecord returns nil for none, and for one that somebody broke: the entries of the Secret tell the phase too.
func parseRecord(text string) *Record {
	r := &Record{}
	if json.Unmarshal([]byte(text), r) != nil || !slices.Contains([]Phase{PhaseAnnounced, PhaseRetired, PhaseDone}, r.Phase) {
		return nil
	}
	return r
}

// Fleet is how far the enrolled machines are.
type Fleet struct {
	Hosts int
	// Waiting are those that have not applied a set of the present phase.
	Waiting []string
}

// state is what the next step is decided from.
type state struct {
	entries []Entry // the oldest first
	record  *Record
	// What people asked for by annotations.
	rotate, retire, remove string
	overlap                time.Duration
	now                    time.Time
}

// step is what a rotation needs next.
type step string

const (
	stepNone     step = ""
	stepAnnounce step = "Announce" // add a key
	stepRetire   step = "Retire"   // tell machines to trust the newest key alone
	stepRemove   step = "Remove"   // delete the retired keys
)

// underway tells whether machines have to be counted before the next step is known.
func (s *state) underway() bool { return s.phase() != PhaseDone }

// phase follows from the entries where the record is lost. Keys that were put there by hand are no rotation: all of them stay.
func (s *state) phase() Phase {
	retired := slices.ContainsFunc(s.entries, func(e Entry) bool { return e.Retired })
	switch {
	case s.record != nil && s.record.Phase == PhaseAnnounced && s.trusted() > 1:
		return PhaseAnnounced
	case retired:
		return PhaseRetired
	}
	return PhaseDone
}

func (s *state) trusted() (n int) {
	for _, e := range s.entries {
		if !e.Retired {
			n++
		}
	}
	return n
}

// asked tells whether a new key is wanted that was not before.
func (s *state) asked() bool {
	return s.rotate != "" && (s.record == nil || s.record.Request != s.rotate)
}

// since is when the phase began; a record that is lost begins anew.
func (s *state) since() time.Time {
	if s.record != nil && s.record.Phase == s.phase() {
		return s.record.Since
	}
	return s.now
}

// decide is the next step; again is when to look once more, zero for not before something changes.
func decide(s state, fleet Fleet) (next step, again time.Time) {
	phase := s.phase()
	soon := s.now.Add(countPause)
	switch {
	case phase == PhaseAnnounced && (len(fleet.Waiting) == 0 || s.names(s.retire, false)):
		return stepRetire, soon
	case phase == PhaseAnnounced:
		return stepNone, soon
	case phase == PhaseRetired && s.names(s.remove, true):
		return stepRemove, soon
	case s.asked():
		return stepAnnounce, soon
	case phase == PhaseRetired && len(fleet.Waiting) == 0 && !s.now.Before(s.since().Add(s.overlap)):
		return stepRemove, soon
	case phase == PhaseRetired:
		return stepNone, soon
	}
	return stepNone, time.Time{}
}

// names tells whether what a person wrote is the id of an old key.
func (s *state) names(id string, retired bool) bool {
	return slices.ContainsFunc(s.old(), func(e Entry) bool { return e.KeyID == id && e.Retired == retired })
}

func (s *state) old() []Entry { return s.entries[:len(s.entries)-1] }

// recorded is the record of the present phase.
func (s *state) recorded(fleet Fleet) *Record {
	newest := s.entries[len(s.entries)-1]
	r := &Record{Phase: s.phase(), NewKey: newest.KeyID, Since: s.since().UTC().Truncate(time.Second), Hosts: fleet.Hosts, Waiting: len(fleet.Waiting)}
	if s.record != nil {
		r.Request = s.record.Request
	}
	for _, e := range s.old() {
		r.OldKeys = append(r.OldKeys, e.KeyID)
	}
	r.WaitingFor = fleet.Waiting[:min(maxNamed, len(fleet.Waiting))]
	r.Next = s.tell(r)
	return r
}

// tell says what comes next, for people.
func (s *state) tell(r *Record) string {
	old := strings.Join(r.OldKeys, ", ")
	switch r.Phase {
	case PhaseAnnounced:
		return fmt.Sprintf("the old key (%s) is retired when every machine has heard of the new one; to go on without those that sleep, annotate with %s=<id of the old key>: they can still catch up",
			old, v1alpha1.AnnotationRetireSigningKey)
	case PhaseRetired:
		return fmt.Sprintf("the retired key (%s) signs for machines that sleep until %s at least, and until every machine has heard; to delete it now, annotate with %s=<id of the retired key>: machines that have not heard must be enrolled again",
			old, r.Since.Add(s.overlap).Format(time.RFC3339), v1alpha1.AnnotationRemoveSigningKey)
	}
	return ""
}
