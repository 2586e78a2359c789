package enrol

import "strings"

// ToPaste is what a person pastes on a machine.
type ToPaste struct {
	// First is the line for a machine that has nothing, where the gateway serves the installer, else for one that has the agent.
	First string
	// Other is the line for one that has the agent, empty when that is First.
	Other string
	// Does says in a sentence what First does beyond enrolling; empty for nothing.
	Does string
}

// Lines reads them from the Secret of an enrolment, and adds what the machine's owner allows.
func Lines(secret map[string][]byte, machineFlags string) ToPaste {
	line := func(key string) string {
		text := strings.TrimSpace(string(secret[key]))
		if text == "" || machineFlags == "" {
			return text
		}
		return text + " " + machineFlags
	}
	command, install := line("command"), line("install")
	if install == "" {
		return ToPaste{First: command}
	}
	return ToPaste{First: install, Other: command, Does: "It installs the agent, enrols the machine and starts it. "}
}
