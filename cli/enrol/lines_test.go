package enrol

import "testing"

func TestTheLineToPasteInstallsWhereTheGatewayCan(t *testing.T) {
	for name, c := range map[string]struct {
		secret map[string][]byte
		flags  string
		want   ToPaste
	}{
		"no installer": {map[string][]byte{"command": []byte("enroll\n")}, "", ToPaste{First: "enroll"}},
		"an installer": {map[string][]byte{"command": []byte("enroll\n"), "install": []byte("install\n")}, "",
			ToPaste{"install", "enroll", "It installs the agent, enrols the machine and starts it. "}},
		"with consent": {map[string][]byte{"command": []byte("enroll\n"), "install": []byte("install\n")}, "--allow-queries",
			ToPaste{"install --allow-queries", "enroll --allow-queries", "It installs the agent, enrols the machine and starts it. "}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Lines(c.secret, c.flags); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
