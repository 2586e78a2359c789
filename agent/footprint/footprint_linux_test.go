package footprint

import (
	"os"
	"slices"
	"testing"
)

func TestPagesOf(t *testing.T) {
	const program = "/usr/bin/restic-manager-agent"
	for line, want := range map[string][2]uintptr{
		"00400000-0092a000 r-xp 00000000 fe:01 123                                /usr/bin/restic-manager-agent\n":  {0x400000, 0x52a000},
		"0092a000-00f07000 r--p 0052a000 fe:01 123                                /usr/bin/restic-manager-agent\n":  {0x92a000, 0x5dd000},
		"00f07000-00f68000 rw-p 00b07000 fe:01 123                                /usr/bin/restic-manager-agent\n":  {},
		"7f0000000000-7f0000001000 r-xp 00000000 fe:01 9                          /usr/bin/restic-manager-agent2\n": {},
		"7ffd0000-7ffe0000 r-xp 00000000 00:00 0                                  [vdso]\n":                         {},
		"c000000000-c000400000 rw-p 00000000 00:00 0 \n":                                                            {},
		"nonsense\n": {},
	} {
		start, length, ok := pagesOf(line, program)
		if ok != (want[1] > 0) || start != want[0] || length != want[1] {
			t.Errorf("%q: %#x, %#x, %v", line, start, length, ok)
		}
	}
}

func TestOnlyWhatNobodyHasWrittenToIsGivenBack(t *testing.T) {
	const program = "/usr/bin/restic-manager-agent"
	smaps := `00400000-0092a000 r-xp 00000000 fe:01 123                                /usr/bin/restic-manager-agent
Size:               5288 kB
Rss:                4096 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
0092a000-00f07000 r--p 0052a000 fe:01 123                                /usr/bin/restic-manager-agent
Size:               6004 kB
Anonymous:             0 kB
00f07000-00f08000 r--p 00b07000 fe:01 123                                /usr/bin/restic-manager-agent
Size:                  4 kB
Anonymous:             4 kB
00f08000-00f68000 rw-p 00b08000 fe:01 123                                /usr/bin/restic-manager-agent
Size:                384 kB
Anonymous:             0 kB
7ffd0000-7ffe0000 r-xp 00000000 00:00 0                                  [vdso]
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x52a000}, {0x92a000, 0x5dd000}}
	if got := clean(smaps, program); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// What is released comes back by itself: this program goes on.
func TestReleaseMakesTheProcessSmaller(t *testing.T) {
	ballast := make([]byte, 32<<20)
	for i := range ballast {
		ballast[i] = 1
	}
	before, ok := resident()
	if !ok {
		t.Fatal("this system does not tell how much memory a process has")
	}
	ballast = nil
	release()
	after, _ := resident()
	if after >= before-16<<20 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	if _, err := os.Stat("/proc/self/exe"); err != nil {
		t.Error(err)
	}
}
