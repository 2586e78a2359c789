package session

import (
	"log/slog"
	"time"

	"github.com/restic-manager/restic-manager/api/wire"
)

// How long to stay away when trying sooner is pointless or harmful.
const (
	// rarely: somebody must do something first.
	rarely = 10 * time.Minute
	// afterRemoval is shorter: a Host that is managed in Git may come back at once.
	afterRemoval = 5 * time.Minute
	// afterSuperseded lets the other connection live, so that two processes do not push each other out for ever.
	afterSuperseded = time.Minute
)

// ending is how an attempt or a session ended, and what follows from it.
type ending struct {
	// sentence for the log: equal for equal reasons.
	sentence string
	level    slog.Level
	// atLeast is the least wait before the next attempt, 0 for the backoff's own.
	atLeast time.Duration
	// accepted: there was a welcome.
	accepted bool
	// code is that of the gateway's error, empty without one.
	code wire.Code
}

func lost(sentence string) ending { return ending{sentence: sentence, level: slog.LevelWarn} }

// refused turns the gateway's error into what the agent does about it.
func refused(e *wire.Error) ending {
	end := ending{code: e.Code, level: slog.LevelWarn, atLeast: time.Duration(e.RetryAfterSeconds) * time.Second}
	needsPerson := func(sentence string, atLeast time.Duration) {
		end.sentence, end.level = sentence, slog.LevelError
		end.atLeast = max(end.atLeast, atLeast)
	}
	switch e.Code {
	case wire.CodeProtocolTooOld:
		help := ""
		if e.HelpURL != "" {
			help = ", see " + e.HelpURL
		}
		needsPerson("this agent is too old for the gateway: upgrade restic-manager-agent"+help+" (the gateway says: "+e.Message+")", rarely)
	case wire.CodeBadSignature:
		needsPerson("the gateway does not accept this machine's keys: they are not those pinned in the Host; "+
			"enrol this machine again with a new token (the gateway says: "+e.Message+")", rarely)
	case wire.CodeHostRemoved:
		needsPerson("the Host of this machine was deleted, or its identity changed (the gateway says: "+e.Message+"), and no signed word of it came: scheduled backups "+
			"go on from the set in force until a person decides: enrol again with a new token, or remove the agent", afterRemoval)
	case wire.CodeDuplicateIdentity:
		needsPerson("another machine uses the same identity, a cloned VM perhaps, and this one is refused: enrol one of the two with a new token "+
			"(the gateway says: "+e.Message+")", rarely)
	case wire.CodeSuperseded:
		end.sentence = "another connection with this machine's identity took over; when no second agent was started on purpose, this machine was cloned"
		end.atLeast = max(end.atLeast, afterSuperseded)
	case wire.CodeStaleSession:
		end.sentence = "the gateway has a newer session counter on record (restored from a backup or a snapshot?); continuing from there, with a new epoch of reports"
		end.level = slog.LevelInfo
	case wire.CodeUnknownHost:
		end.sentence = "the gateway does not know this machine's Host yet, or its set is not published: " + e.Message
	case wire.CodeBusy:
		end.sentence = "the gateway is busy: " + e.Message
		end.level = slog.LevelInfo
	default:
		end.sentence = "the gateway ended the session: " + e.Error()
	}
	return end
}

// afterTombstone is an ending for a machine that knows already that its Host was removed: that the gateway does not know it is no trouble.
func afterTombstone(end ending) ending {
	switch end.code {
	case wire.CodeHostRemoved, wire.CodeUnknownHost, wire.CodeBadSignature:
		end.sentence = "the gateway knows this machine no more, since its Host was removed; it is asked from time to time, in case the Host comes back"
		end.level = slog.LevelInfo
	}
	return end
}

// soon tells whether the gateway is there for this machine, and it should come back without much ado.
func (e ending) soon() bool { return e.code == wire.CodeBusy || e.code == wire.CodeStaleSession }
