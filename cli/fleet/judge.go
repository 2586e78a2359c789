package fleet

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/restic-manager/restic-manager/api/v1alpha1"
)

// State is how a host, or one of its groups, is.
type State string

// The states, the worst first.
const (
	// Failing: the last backup failed or is incomplete, or the repository cannot be opened or is damaged.
	Failing State = "Failing"
	// Overdue: a backup should have succeeded by now.
	Overdue State = "Overdue"
	// NotReady: the Host is not accepted, or not enrolled.
	NotReady State = "NotReady"
	// Disconnected: the machine is away, and nothing is overdue yet.
	Disconnected State = "Disconnected"
	// Waiting: for the first backup.
	Waiting State = "Waiting"
	// Unscheduled: nothing is backed up by any Schedule.
	Unscheduled State = "Unscheduled"
	// Suspended by a person.
	Suspended State = "Suspended"
	// Current: all is well.
	Current State = "Current"
)

// States lists them, the worst first.
func States() []State {
	return []State{Failing, Overdue, NotReady, Disconnected, Waiting, Unscheduled, Suspended, Current}
}

func worse(a, b State) int { return cmp.Compare(slices.Index(States(), a), slices.Index(States(), b)) }

// fine tells states that nobody needs to look at: a suspended host is as somebody wants it.
func (s State) fine() bool { return s == Current || s == Suspended }

// Host is one host of a report.
type Host struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	// Message says why, where it is not Current.
	Message     string       `json:"message,omitempty"`
	Connected   bool         `json:"connected"`
	LastSuccess *metav1.Time `json:"lastSuccessTime,omitempty"`
	NextRun     *metav1.Time `json:"nextRunTime,omitempty"`
	Groups      []Group      `json:"groups,omitempty"`
}

// Group is one source group on one host.
type Group struct {
	Name        string             `json:"name"`
	State       State              `json:"state"`
	Message     string             `json:"message,omitempty"`
	Result      v1alpha1.JobResult `json:"result,omitempty"`
	LastSuccess *metav1.Time       `json:"lastSuccessTime,omitempty"`
	Failures    int32              `json:"consecutiveFailures,omitempty"`
}

// GroupSummary is one source group over all hosts.
type GroupSummary struct {
	Namespace string        `json:"namespace"`
	Name      string        `json:"name"`
	Hosts     int           `json:"hosts"`
	Counts    map[State]int `json:"counts"`
	// Oldest success of those that ever had one.
	Oldest *metav1.Time `json:"oldestSuccessTime,omitempty"`
}

// Report is how a fleet is.
type Report struct {
	Counts map[State]int  `json:"counts"`
	Hosts  []Host         `json:"hosts"`
	Groups []GroupSummary `json:"groups"`
}

// Code is 0 when all is well, 1 when something is not.
func (r Report) Code() int {
	for state, n := range r.Counts {
		if n > 0 && !state.fine() {
			return 1
		}
	}
	return 0
}

// Judge makes a report of hosts.
func Judge(hosts []v1alpha1.Host) Report {
	r := Report{Counts: map[State]int{}, Hosts: []Host{}, Groups: []GroupSummary{}}
	for i := range hosts {
		h := judgeHost(&hosts[i])
		r.Counts[h.State]++
		r.Hosts = append(r.Hosts, h)
	}
	slices.SortStableFunc(r.Hosts, func(a, b Host) int {
		return cmp.Or(worse(a.State, b.State), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	r.Groups = summarise(r.Hosts)
	return r
}

func judgeHost(h *v1alpha1.Host) Host {
	out := Host{Namespace: h.Namespace, Name: h.Name, State: Current, Connected: isTrue(h, v1alpha1.ConditionConnected),
		LastSuccess: h.Status.LastSuccessTime, NextRun: h.Status.NextRunTime, Groups: judgeGroups(h)}
	take := func(s State, message string) {
		if worse(s, out.State) < 0 {
			out.State, out.Message = s, message
		}
	}
	for _, g := range out.Groups {
		take(g.State, g.Name+": "+g.Message)
	}
	if c := condition(h, v1alpha1.ConditionRepositoryReady); c != nil && c.Status == metav1.ConditionFalse {
		take(Failing, c.Message)
	}
	if c := condition(h, v1alpha1.ConditionRepositoryHealthy); c != nil && c.Status == metav1.ConditionFalse {
		take(Failing, c.Message)
	}
	if c := condition(h, v1alpha1.ConditionBackupsCurrent); c != nil && c.Status != metav1.ConditionTrue {
		switch {
		case c.Reason == v1alpha1.ReasonOverdue:
			take(Overdue, c.Message)
		case c.Reason == v1alpha1.ReasonWaitingForFirstBackup:
			take(Waiting, c.Message)
		case c.Reason == v1alpha1.ReasonNothingScheduled && !h.Spec.Suspend:
			take(Unscheduled, c.Message)
		}
	}
	takeConnection(h, out.Connected, take)
	if h.Spec.Suspend {
		take(Suspended, "spec.suspend stops all scheduled work")
	}
	return out
}

// takeConnection is about a machine that cannot be reached, for one of four reasons.
func takeConnection(h *v1alpha1.Host, connected bool, take func(State, string)) {
	ready, enrolled := condition(h, v1alpha1.ConditionReady), condition(h, v1alpha1.ConditionEnrolled)
	switch {
	case ready == nil:
		take(NotReady, "the controllers have not looked at it yet")
	case ready.Status != metav1.ConditionTrue:
		take(NotReady, ready.Message)
	case enrolled != nil && enrolled.Status != metav1.ConditionTrue:
		take(NotReady, "not enrolled: "+enrolled.Message)
	case !connected:
		message := "the machine is not connected"
		if c := condition(h, v1alpha1.ConditionConnected); c != nil {
			message = c.Message
		}
		take(Disconnected, message)
	}
}

// judgeGroups is about each group that has a result, or a Schedule.
func judgeGroups(h *v1alpha1.Host) []Group {
	byName := map[string]*Group{}
	get := func(name string) *Group {
		if byName[name] == nil {
			byName[name] = &Group{Name: name, State: Waiting, Message: "no backup yet"}
		}
		return byName[name]
	}
	scheduled, active := map[string]bool{}, map[string]bool{}
	for _, s := range h.Status.Schedules {
		for _, g := range s.SourceGroups {
			get(g.Name)
			scheduled[g.Name] = true
			active[g.Name] = active[g.Name] || !s.Suspended
		}
	}
	for _, r := range h.Status.SourceGroups {
		g := get(r.Name)
		g.Result, g.LastSuccess, g.Failures = r.Result, r.LastSuccessTime, r.ConsecutiveFailures
		g.State, g.Message = stateOf(r)
	}
	for _, o := range h.Status.Overdue {
		if g := get(o.SourceGroup); worse(Overdue, g.State) < 0 {
			g.State, g.Message = Overdue, "overdue by Schedule "+o.Schedule
		}
	}
	out := make([]Group, 0, len(byName))
	for name, g := range byName {
		if scheduled[name] && !active[name] && (g.State == Waiting || g.State == Current) {
			g.State, g.Message = Suspended, "its Schedule is suspended"
			if h.Spec.Suspend {
				g.Message = "spec.suspend of the Host stops it"
			}
		}
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Or(worse(a.State, b.State), cmp.Compare(a.Name, b.Name)) })
	return out
}

func stateOf(r v1alpha1.SourceGroupResult) (State, string) {
	switch r.Result {
	case v1alpha1.ResultSucceeded:
		return Current, ""
	case v1alpha1.ResultCancelled:
		if r.LastSuccessTime != nil {
			return Current, "the last one was cancelled"
		}
		return Waiting, "the only one was cancelled"
	}
	message := r.Message
	if message == "" {
		message = fmt.Sprintf("the last backup ended %s", r.Result)
	}
	return Failing, message
}

func summarise(hosts []Host) []GroupSummary {
	type key struct{ namespace, name string }
	byKey := map[key]*GroupSummary{}
	for _, h := range hosts {
		for _, g := range h.Groups {
			k := key{h.Namespace, g.Name}
			s := byKey[k]
			if s == nil {
				s = &GroupSummary{Namespace: h.Namespace, Name: g.Name, Counts: map[State]int{}}
				byKey[k] = s
			}
			s.Hosts++
			s.Counts[g.State]++
			if g.LastSuccess != nil && (s.Oldest == nil || g.LastSuccess.Before(s.Oldest)) {
				s.Oldest = g.LastSuccess
			}
		}
	}
	out := make([]GroupSummary, 0, len(byKey))
	for _, s := range byKey {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b GroupSummary) int {
		return cmp.Or(worse(a.worst(), b.worst()), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func (s GroupSummary) worst() State {
	for _, state := range States() {
		if s.Counts[state] > 0 {
			return state
		}
	}
	return Current
}

func condition(h *v1alpha1.Host, kind string) *metav1.Condition {
	return meta.FindStatusCondition(h.Status.Conditions, kind)
}

func isTrue(h *v1alpha1.Host, kind string) bool {
	return meta.IsStatusConditionTrue(h.Status.Conditions, kind)
}
