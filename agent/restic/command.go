package restic

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// commandArgs are those of a backup of a command's output. restic starts Runner.DumpHelper, which starts the command: restic itself would hand it all secrets, end nothing but the
// direct child, and keep an empty output as a snapshot. The parent snapshot is found as for files.
func commandArgs(host, helper string, o BackupOptions) []string {
	args := []string{"backup", "--host=" + host, "--tag=" + o.Tag, "--group-by=host,tags", "--stdin-from-command", "--stdin-filename=" + o.FileName, "--",
		helper, "dump", fmt.Sprintf("--report-fd=%d", firstInherited), "--"}
	return append(args, o.Command...)
}

// commandVariable begins the variables that reach a command.
const commandVariable = "RESTIC_MANAGER_"

func (o BackupOptions) checkCommand(helper string) error {
	if len(o.Paths) > 0 {
		return invalid("a backup has paths or a command, not both")
	}
	if !filepath.IsAbs(helper) {
		return invalid("Runner.DumpHelper must be the absolute path of the agent's own program")
	}
	if err := checkText("the command", o.Command[0]); err != nil {
		return err
	}
	for _, word := range o.Command {
		if strings.ContainsRune(word, 0) {
			return invalid("the command has a NUL byte in it")
		}
	}
	if err := checkText("the file name of the command's output", o.FileName); err != nil {
		return err
	}
	if strings.ContainsAny(o.FileName, "/\n\r") || o.FileName == "." || o.FileName == ".." {
		return invalid("the file name of the command's output, %q, is not a plain file name", o.FileName)
	}
	for name, value := range o.CommandEnv {
		if !strings.HasPrefix(name, commandVariable) || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return invalid("the command's variable %q does not begin with %s, or has a character that no variable may have", name, commandVariable)
		}
	}
	return nil
}

// How a command ended, as agent/dump reports it. Both packages have these words; a test runs them together.
const (
	commandDone       = "Done"
	commandEmpty      = "Empty"
	commandFailed     = "Failed"
	commandNotStarted = "NotStarted"
	commandStopped    = "Stopped"
)

// commandReport is what the helper tells beside restic: what the command printed to stderr, and how it ended. restic's own relay of stderr loses the last lines and
// blocks the command after a long one.
type commandReport struct {
	Line    *string `json:"line"`
	Outcome string  `json:"outcome"`
	Message string  `json:"message"`
}

// commandWatch keeps what the helper reported.
type commandWatch struct {
	outcome, message, lastLine string
}

func (w *commandWatch) read(raw []byte, log func(text string)) {
	var r commandReport
	if json.Unmarshal(raw, &r) != nil {
		return
	}
	if r.Line != nil {
		if text := strings.TrimSpace(*r.Line); text != "" {
			w.lastLine = text
			log(text)
		}
		return
	}
	w.outcome, w.message = r.Outcome, r.Message
}

// judge refines the failure of a backup whose command is to blame. What restic itself says of a lock, a password or the network counts more.
func (w *commandWatch) judge(failure *Error, o outcome) *Error {
	if strings.Contains(o.exitMessage, "failed to start command: ") {
		failure.Kind, failure.Message = KindNotStarted, "restic cannot start the agent's own program ("+o.reason()+"); was it removed?"
		return failure
	}
	blame := strings.Contains(o.exitMessage, "command failed: ")
	if o.stopped != notStopped || !blame && failure.Kind != KindFailed {
		return failure
	}
	switch w.outcome {
	case commandEmpty:
		failure.Kind, failure.Message = KindCommandEmpty, w.message+"; no snapshot was made"
	case commandFailed, commandNotStarted:
		failure.Kind, failure.Message = KindCommandFailed, w.message+"; no snapshot was made"
	default:
		if !blame {
			return failure
		}
		failure.Kind = KindCommandFailed
		failure.Message = "the command was killed before it could tell how it went (" + o.reason() + "); no snapshot was made"
	}
	if w.lastLine != "" {
		failure.Message += "; it last said: " + o.show(w.lastLine)
	}
	failure.Message = o.show(failure.Message)
	return failure
}
