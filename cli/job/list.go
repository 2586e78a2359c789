package job

import (
	"slices"
	"time"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
	"github.com/restic-manager/restic-manager/cli/terminal"
)

// Sort puts what is under way first, then the newest.
func Sort(jobs []v1alpha1.HostJob) {
	slices.SortStableFunc(jobs, func(a, b v1alpha1.HostJob) int {
		if af, bf := a.Status.Phase.Finished(), b.Status.Phase.Finished(); af != bf {
			if af {
				return 1
			}
			return -1
		}
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
}

// Table lists jobs.
func Table(jobs []v1alpha1.HostJob, now time.Time, namespaces, wide bool) terminal.Table {
	t := terminal.Table{Wide: wide}
	if namespaces {
		t.Columns = append(t.Columns, terminal.Column{Name: "Namespace", GiveUp: 4})
	}
	t.Columns = append(t.Columns, terminal.Column{Name: "Name"}, terminal.Column{Name: "Host", GiveUp: 3}, terminal.Column{Name: "Kind"}, terminal.Column{Name: "Group", GiveUp: 2},
		terminal.Column{Name: "Phase"}, terminal.Column{Name: "Age", GiveUp: 1}, terminal.Column{Name: "By", Wide: true}, terminal.Column{Name: "Status"})
	for i := range jobs {
		j := &jobs[i]
		var row []terminal.Cell
		if namespaces {
			row = terminal.Cells(j.Namespace)
		}
		group := j.GroupName()
		if group == "" {
			group = terminal.Nothing
		}
		phase := j.Status.Phase
		if phase == "" {
			phase = v1alpha1.JobPending
		}
		m := &Meter{}
		m.Add(j.Status.Progress)
		row = append(row, terminal.Cells(j.Name, j.TargetName(), string(j.Spec.Kind), group)...)
		row = append(row, terminal.Cell{Text: string(phase), Tone: toneOf(phase)})
		row = append(row, terminal.Cells(terminal.Ago(j.CreationTimestamp.Time, now), j.Spec.HostRef.Name, Line(j, m, now))...)
		t.Rows = append(t.Rows, row)
	}
	return t
}

func toneOf(p v1alpha1.HostJobPhase) terminal.Tone {
	switch p {
	case v1alpha1.JobSucceeded:
		return terminal.Good
	case v1alpha1.JobFailed, v1alpha1.JobExpired, v1alpha1.JobCompletedWithErrors:
		return terminal.Bad
	case v1alpha1.JobCancelled:
		return terminal.Faint
	}
	return terminal.Doubtful
}
