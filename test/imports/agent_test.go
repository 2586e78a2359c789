package imports

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	agentCommand  = "./cmd/restic-manager-agent"
	agentMaxBytes = 15_000_000
)

func TestAgentProgramIsSmallAndStatic(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, agentCommand)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v: %s", agentCommand, err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= agentMaxBytes {
		t.Errorf("the agent is %d bytes, expected less than %d: go list -deps %s shows what it links", info.Size(), agentMaxBytes, agentCommand)
	}
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, program := range file.Progs {
		if program.Type == elf.PT_INTERP {
			t.Error("the agent needs a dynamic linker, expected a static program")
		}
	}
	libraries, err := file.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	if len(libraries) > 0 {
		t.Errorf("the agent needs %v, expected no shared library", libraries)
	}
}
