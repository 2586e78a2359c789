package swarm

import (
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// Behaviour stands where restic does on a real machine. Its functions are called from many goroutines at once.
type Behaviour struct {
	// Job says how a job ends, right when it starts.
	Job func(Job) Result
	// Repository says what an agent sees of its repository when it looks: after a set that brings another one, and at each connect until it is Ready. URL
	// and Time are filled in.
	Repository func(*Agent) wire.RepoState
}

// Job is a piece of work that a simulated agent was given.
type Job struct {
	Agent *Agent
	Ref   wire.JobRef
	// Group is what a backup is of, nil for other kinds.
	Group *wire.SourceGroup
	// Command is that of a HostJob, verified; nil for a fire.
	Command *wire.JobCommand
	// Offline says that a fire began without a verdict.
	Offline bool
}

// Result is how a job ends.
type Result struct {
	// Outcome, Reason and Message are those of the report. An empty Outcome means success; any other needs a Reason and a Message.
	Outcome wire.Outcome
	Reason  wire.Reason
	Message string
	// FailedPaths are what could not be read, for CompletedWithErrors.
	FailedPaths []string
	// Took is how long the job lasts by the fleet's clock; 0 means that it ends at once. A cancellation ends it early.
	Took time.Duration
	// Change has the last word on the report, but for its id.
	Change func(*wire.JobFinished)
}

// Succeeded is the result of a job that went well.
func Succeeded() Result { return Result{Outcome: wire.OutcomeSucceeded} }

// Failed is the result of a job that did nothing.
func Failed(reason wire.Reason, message string) Result {
	return Result{Outcome: wire.OutcomeFailed, Reason: reason, Message: message}
}

// CompletedWithErrors is the result of a backup that wrote a snapshot without these paths.
func CompletedWithErrors(paths ...string) Result {
	return Result{Outcome: wire.OutcomeCompletedWithErrors, Reason: wire.ReasonSourceUnreadable, FailedPaths: paths,
		Message: "Some files could not be read, and are not in the snapshot; see failedPaths."}
}
