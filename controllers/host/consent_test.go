package host

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/api/wire"
)

func TestAllowedByMachine(t *testing.T) {
	hooks := &wire.Hooks{PreBackup: []wire.Hook{{Command: []string{"/bin/true"}}}}
	plain := &wire.ScheduleSet{Groups: []wire.SourceGroup{{Name: "etc"}}}
	hostHooks := &wire.ScheduleSet{Hooks: hooks}
	groupHooks := &wire.ScheduleSet{Groups: []wire.SourceGroup{{Name: "etc"}, {Name: "home", Hooks: hooks}}}
	command := &wire.ScheduleSet{Groups: []wire.SourceGroup{{Name: "db", Command: []string{"/usr/bin/pg_dump"}}}}
	applied := func(refused ...v1alpha1.NotAllowed) *v1alpha1.ScheduleSet {
		return &v1alpha1.ScheduleSet{Spec: v1alpha1.ScheduleSetSpec{Revision: "r2"}, Status: v1alpha1.ScheduleSetStatus{AppliedRevision: "r2", NotAllowed: refused}}
	}
	pending := &v1alpha1.ScheduleSet{Spec: v1alpha1.ScheduleSetSpec{Revision: "r2"}, Status: v1alpha1.ScheduleSetStatus{AppliedRevision: "r1"}}
	refused := func(group, what string) v1alpha1.NotAllowed {
		return v1alpha1.NotAllowed{SourceGroup: group, What: what, Message: "allow.hooks is deny"}
	}
	var many []v1alpha1.NotAllowed
	for i := range 12 {
		many = append(many, refused(fmt.Sprintf("g%d", 10+i), "hooks"))
	}
	long := refused("etc", "hooks")
	long.Message = strings.Repeat("é", 4000)
	before := &metav1.Condition{Status: metav1.ConditionTrue, Reason: "AllAllowed"}
	tests := []struct {
		name     string
		set      *v1alpha1.ScheduleSet
		compiled *wire.ScheduleSet
		before   *metav1.Condition
		want     string
		says     string
	}{
		{"nothing published", nil, hostHooks, nil, "absent", ""},
		{"what is to be published is not known", applied(), nil, before, "as it was", ""},
		{"a set without hooks and commands", applied(), plain, before, "absent", ""},
		{"the machine has not said anything yet", pending, groupHooks, nil, "Unknown Pending", ""},
		{"a changed set leaves it as it was until the ack", pending, groupHooks, before, "as it was", ""},
		{"hooks that are allowed", applied(), groupHooks, nil, "True AllAllowed", ""},
		{"hooks of a group", applied(refused("home", "hooks")), groupHooks, nil, "False NotAllowedByMachine",
			"agent.yaml on the machine does not allow hooks of SourceGroup home: their backups fail. Its owner can allow it there (allow.hooks); the machine says: allow.hooks is deny"},
		{"hooks of the host concern every group", applied(refused("", "hooks")), hostHooks, nil, "False NotAllowedByMachine", "hooks of the Host: all backups fail"},
		{"a command", applied(refused("db", "commands")), command, nil, "False NotAllowedByMachine",
			"does not allow the command of SourceGroup db: their backups fail. Its owner can allow it there (allow.commands)"},
		{"both", applied(refused("db", "commands"), refused("home", "hooks"), refused("etc", "hooks")), command, nil, "False NotAllowedByMachine",
			"hooks of SourceGroup etc, home and the command of SourceGroup db: their backups fail. Its owner can allow it there (allow.hooks, allow.commands)"},
		{"many groups", applied(many...), groupHooks, nil, "False NotAllowedByMachine", "g18, g19, …: their"},
		{"a consent of a later version", applied(refused("x", "telepathy")), groupHooks, nil, "False NotAllowedByMachine", "something in its set"},
		{"a machine that talks too much", applied(long), groupHooks, nil, "False NotAllowedByMachine", strings.Repeat("é", 512) + "…"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, present, keep := allowedByMachine(tt.set, tt.compiled, tt.before)
			got := short(v)
			switch {
			case keep:
				got = "as it was"
			case !present:
				got = "absent"
			}
			if got != tt.want || !strings.Contains(v.message, tt.says) {
				t.Errorf("allowedByMachine is %q, %q; want %q, %q", got, v.message, tt.want, tt.says)
			}
		})
	}
}
