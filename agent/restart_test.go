package agent

import (
	"testing"

	"github.com/restic-manager/restic-manager/api/wire"
)

// What the cluster knew of the repository may be lost, with the Host's status or with a restored etcd.
func TestEachStartTellsTheRepositorysState(t *testing.T) {
	w := newWorld(t)
	stop := w.ready()
	stop()
	w.start()
	hello := next[*wire.Hello](w, "the hello of the second process", nil)
	body, err := hello.Claimed()
	if err != nil || body.AppliedRevision == "" {
		t.Fatalf("the second process has no set in force: %+v, %v", body, err)
	}
	state := next[*wire.RepoState](w, "the repository's state, without a new set", nil)
	if state.State != wire.RepositoryReady || state.URL != w.repo {
		t.Errorf("state is %+v", state)
	}
	// Once is enough: the next session of this process says nothing of it.
	w.drop()
	next[*wire.Hello](w, "the hello of the second session", nil)
	w.send(w.command("1", nil))
	next(w, "the result of a job", func(m wire.Message) bool {
		if state, again := m.(*wire.RepoState); again {
			t.Errorf("the state was told again: %+v", state)
		}
		return m.MessageType() == wire.TypeJobFinished
	})
}
