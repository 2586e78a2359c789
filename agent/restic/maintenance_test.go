package restic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var goodForget = ForgetOptions{Repository: fixtureRepository, Host: "shop/web-1", Tag: "etc", Keep: Retention{KeepLast: 1}}

func TestForgetArguments(t *testing.T) {
	options := goodForget
	options.Keep = Retention{KeepLast: 1, KeepHourly: 2, KeepDaily: 3, KeepWeekly: 4, KeepMonthly: 5, KeepYearly: 6, KeepWithin: "1d", KeepWithinHourly: "2d", KeepWithinDaily: "3d",
		KeepWithinWeekly: "1m", KeepWithinMonthly: "1y", KeepWithinYearly: "75y6m", KeepTags: []string{"golden", "legal"}}
	want := "forget --host=shop/web-1 --tag=etc --group-by=host --keep-last=1 --keep-hourly=2 --keep-daily=3 --keep-weekly=4 --keep-monthly=5 --keep-yearly=6 --keep-within=1d " +
		"--keep-within-hourly=2d --keep-within-daily=3d --keep-within-weekly=1m --keep-within-monthly=1y --keep-within-yearly=75y6m --keep-tag=golden --keep-tag=legal"
	if diff := cmp.Diff(want, strings.Join(forgetArgs(options), " ")); diff != "" || options.check() != nil {
		t.Error(diff, options.check())
	}
}

func TestForgetRefusesWhatWouldTouchMoreThanMeant(t *testing.T) {
	for name, change := range map[string]func(*ForgetOptions){
		"no host is every host":               func(o *ForgetOptions) { o.Host = "" },
		"no tag is untagged":                  func(o *ForgetOptions) { o.Tag = "" },
		"a comma in the tag":                  func(o *ForgetOptions) { o.Tag = "a,b" },
		"an empty policy":                     func(o *ForgetOptions) { o.Keep = Retention{} },
		"a negative count means all":          func(o *ForgetOptions) { o.Keep.KeepLast = -1 },
		"a negative duration keeps nothing":   func(o *ForgetOptions) { o.Keep.KeepWithin = "-1d" },
		"a duration that restic cannot read":  func(o *ForgetOptions) { o.Keep.KeepWithin = "3 days" },
		"a tag to keep that is empty":         func(o *ForgetOptions) { o.Keep.KeepTags = []string{""} },
		"a tag to keep with a comma":          func(o *ForgetOptions) { o.Keep.KeepTags = []string{"a,b"} },
		"a limit that is negative":            func(o *ForgetOptions) { o.Limits.UploadKBps = -1 },
		"a repository without a password":     func(o *ForgetOptions) { o.Repository.Environment = nil },
		"a policy of empty lists and strings": func(o *ForgetOptions) { o.Keep = Retention{KeepTags: []string{}} },
	} {
		options := goodForget
		change(&options)
		if _, err := playScript(t, "exit 0").Forget(context.Background(), options, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForgetIsToldFromBothOutputs(t *testing.T) {
	snapshots := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"id":"x","paths":["/a"],"summary":{"n":[1]}},`, n), ",") + "]"
	}
	output := fmt.Sprintf(`[{"tags":null,"host":"h","paths":["/a"],"keep":%s,"remove":%s,"reasons":[{"snapshot":{},"matches":["last"]}]},{"keep":null,"remove":%s}]`, snapshots(3), snapshots(4), snapshots(1))
	refused := func(ids ...string) (out string) {
		for _, id := range ids {
			out += "echo 'unable to remove snapshot/" + id + " from the repository' >&2\n"
		}
		return out
	}
	for _, test := range []struct {
		name, script           string
		kept, removed, refused int
		kind                   Kind
	}{
		{"all is well", "exit 0", 3, 5, 0, ""},
		{"0.18 exits with 0 although two were refused", refused("aa", "bb", "bb") + "exit 0", 3, 3, 2, KindForgetRefused},
		{"0.19 exits with 3", refused("aa") + "exit 3", 3, 4, 1, KindForgetRefused},
		{"the network broke down", "echo 'Remove(<snapshot/aa>) failed: dial tcp: connection refused' >&2\n" + refused("aa") + "exit 3", 3, 4, 1, KindUnreachable},
		{"a failure without refusals", "exit 1", 3, 5, 0, KindFailed},
		{"locked", "exit 11", 3, 5, 0, KindLocked},
	} {
		result, err := playScript(t, "echo '"+output+"'\n"+test.script).Forget(context.Background(), goodForget, nil)
		if result.Kept != test.kept || result.Removed != test.removed || result.Refused != test.refused || KindOf(err) != test.kind {
			t.Errorf("%s: %+v, %v", test.name, result, err)
		}
	}
	for _, broken := range []string{"[", "[{", `[{"keep":[{}`, "nonsense", `[{"keep":{"a":1}}]`} {
		if result, err := playScript(t, "echo '"+broken+"'").Forget(context.Background(), goodForget, nil); err == nil {
			t.Errorf("%s cannot be read, and is success: %+v", broken, result)
		}
	}
}

// crashing is the script of a restic whose forget breaks down that often; it counts its runs and keeps a lock until it is asked to unlock.
func crashing(dir string, times int) string {
	return fmt.Sprintf(`cd %s
case "$*" in
*unlock*) rm -f lock; exit 0;;
esac
test ! -e lock || exit 11
echo >lock; echo run >>runs
echo "unable to remove snapshot/aa from the repository" >&2
if [ $(wc -l <runs) -le %d ]; then
  echo 'fatal error: concurrent map writes' >&2; echo >&2; echo 'goroutine 60 [running]:' >&2; exit 2
fi
rm lock
echo '[{"keep":[{}],"remove":[{}]}]'; exit 3`, dir, times)
}

func TestAForgetThatBreaksDownIsRunAgainWithoutItsLock(t *testing.T) {
	result, err := playScript(t, crashing(t.TempDir(), 2)).Forget(context.Background(), goodForget, nil)
	if KindOf(err) != KindForgetRefused || result.Kept != 1 || result.Removed != 0 || result.Refused != 1 {
		t.Errorf("%+v, %v", result, err)
	}
	dir := t.TempDir()
	_, err = playScript(t, crashing(dir, 99)).Forget(context.Background(), goodForget, nil)
	if !errors.Is(err, ErrCrashed) || !strings.Contains(err.Error(), "concurrent map writes") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Error("the lock of the last run is left:", err)
	}
	if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err != nil || strings.Count(string(runs), "run") != maxForgets {
		t.Errorf("%q, %v; want %d runs", runs, err, maxForgets)
	}
}

func TestALockIsRemovedWhenSomebodyElseKilledRestic(t *testing.T) {
	dir := t.TempDir()
	script := "cd " + dir + `
case "$*" in
*unlock*) echo >unlocked; exit 0;;
esac
kill -KILL $$`
	if _, err := playScript(t, script).Backup(context.Background(), scriptBackup, nil); KindOf(err) != KindKilled {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "unlocked")); err != nil {
		t.Error(err)
	}
}

func TestPruneFiguresAreReadAsResticRoundsThem(t *testing.T) {
	const output = `loading indexes...
[0:03] 50.00%  1 / 2 snapshots
to repack:           120 blobs / 1.500 GiB
this removes:         20 blobs / 100 B
to delete:             4 blobs / 2.524 KiB
total prune:          24 blobs / 2.621 KiB
not yet compressed:              5.000 MiB
remaining:            45 blobs / 57.226 MiB
unused size after prune: 1.000 TiB (0.00% of remaining size)
done`
	seen := &recorder{}
	result, err := playScript(t, "cat <<'E'\n"+output+"\nE").Prune(context.Background(), PruneOptions{Repository: fixtureRepository}, seen)
	if err != nil || result.BytesFreed != 2684 || result.BytesRemaining != 60005810 || result.BytesUnused != 1<<40 || result.Message != "freed 2.6 KiB, 57.2 MiB remain" {
		t.Errorf("%+v, %v", result, err)
	}
	if len(seen.progress) != 1 || seen.progress[0].Fraction != 0.5 || seen.progress[0].FilesTotal != 2 || strings.Contains(seen.text(), "50.00%") {
		t.Errorf("a counter is progress and no line: %+v\n%s", seen.progress, seen.text())
	}
	if result, err = playScript(t, "echo something new").Prune(context.Background(), PruneOptions{Repository: fixtureRepository}, nil); err != nil || result.BytesFreed != 0 {
		t.Errorf("output without figures: %+v, %v", result, err)
	}
	for _, bad := range []PruneOptions{{MaxUnused: "lots"}, {MaxUnused: "5%%"}, {MaxRepackSize: "5%"}, {MaxRepackSize: "-1"}} {
		bad.Repository = fixtureRepository
		if _, err := playScript(t, "exit 0").Prune(context.Background(), bad, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestCheckTellsDamageFromAFailingWay(t *testing.T) {
	said := func(messages ...string) (out string) {
		for _, message := range messages {
			out += fmt.Sprintf("echo '{\"message_type\":\"error\",\"message\":\"%s\"}' >&2\n", message)
		}
		return out + `echo '{"message_type":"summary","num_errors":2,"broken_packs":["aa"],"suggest_repair_index":true,"suggest_prune":true}'
echo '{"message_type":"exit_error","code":1,"message":"Fatal: repository contains errors"}' >&2
exit 1`
	}
	for _, test := range []struct {
		name, script string
		kind         Kind
		problems     []string
		message      string
	}{
		{"damage", said("pack aa: does not exist", "restic repair packs aa"), KindDamaged, []string{"pack aa: does not exist"}, "pack aa: does not exist"},
		{"several lines in one message", said(`error for tree 12:\\n  id 34 not found\\n`), KindDamaged, []string{"id 34 not found"}, "id 34 not found"},
		{"only the network", said("Load(<data/aa>, 1, 0) failed: dial tcp: connection refused", "download error: dial tcp: connection refused"), KindUnreachable,
			[]string{"download error: dial tcp: connection refused"}, "cannot be reached"},
		{"damage and network", said("download error: dial tcp: connection refused", "pack aa: unexpected file size"), KindDamaged,
			[]string{"pack aa: unexpected file size", "download error: dial tcp: connection refused"}, "unexpected file size"},
		{"damage that nobody describes", said(), KindDamaged, []string{}, "repository contains errors"},
		{"a wrong password", `echo '{"message_type":"summary","num_errors":1}'; exit 12`, KindWrongPassword, []string{}, "RESTIC_PASSWORD"},
		{"an old restic that says nothing", "exit 0", KindFailed, []string{}, "without a summary"},
	} {
		result, err := playScript(t, test.script).Check(context.Background(), CheckOptions{Repository: fixtureRepository}, nil)
		if KindOf(err) != test.kind || err == nil || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.problems, append([]string{}, result.Problems...)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	result, err := playScript(t, `echo '{"message_type":"summary","num_errors":0,"suggest_prune":true}'`).Check(context.Background(), CheckOptions{Repository: fixtureRepository}, nil)
	if err != nil || !result.SuggestPrune || !strings.Contains(result.Message, "prune") {
		t.Errorf("hints are no errors: %+v, %v", result, err)
	}
}

func TestASubsetIsAPartOfTheWhole(t *testing.T) {
	for subset, good := range map[string]bool{"": true, "5%": true, "0.5%": true, "1/12": true, "12/12": true, "256/256": true, "50M": true, "13/12": false, "0/12": false, "1/257": false, "50": false,
		"all": false, "-5%": false, "--read-data": false} {
		if err := (CheckOptions{ReadDataSubset: subset}).check(); (err == nil) != good {
			t.Errorf("%q: %v", subset, err)
		}
	}
}

func TestExactPathsAreEscapedForAFileOrTheArguments(t *testing.T) {
	lines, args := exactIncludes([]string{"/a/b", `/x*[y]?\`, "/$HOME/!z", "/two\nlines", "/blank ", "/#c"})
	if diff := cmp.Diff([]string{"/a/b", `/x\*\[y\]\?\\`, "/$$HOME/!z", "/#c"}, lines); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"--include=/two\nlines", "--include=/blank "}, args); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []RestoreOptions{{ExactPaths: []string{"relative"}}, {ExactPaths: []string{"/"}}, {ExactPaths: []string{"/a/../b"}}, {ExactPaths: []string{"/a/"}}, {ExactPaths: []string{""}},
		{ExactPaths: []string{"/a"}, Excludes: []string{"b"}}, {ExactPaths: make([]string, maxExactPaths+1)}, {ExactPaths: []string{"/" + strings.Repeat("\n", maxExactArgs)}}} {
		bad.Repository, bad.Snapshot, bad.Target = fixtureRepository, "01234567", "/r"
		if _, err := playScript(t, "exit 0").Restore(context.Background(), bad, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%.60q: %v", bad.ExactPaths, err)
		}
	}
}

func TestABackupOfACommandIsCheckedFirst(t *testing.T) {
	good := BackupOptions{Repository: fixtureRepository, Tag: "t", Command: []string{"pg_dump", ""}, FileName: "shop.dump", CommandEnv: map[string]string{"RESTIC_MANAGER_HOST": "h"}}
	for name, change := range map[string]func(*BackupOptions, *Runner){
		"paths beside it":                 func(o *BackupOptions, _ *Runner) { o.Paths = []string{"/etc"} },
		"no program":                      func(o *BackupOptions, _ *Runner) { o.Command[0] = "" },
		"a NUL byte":                      func(o *BackupOptions, _ *Runner) { o.Command[1] = "a\x00" },
		"no file name":                    func(o *BackupOptions, _ *Runner) { o.FileName = "" },
		"a file name with a folder":       func(o *BackupOptions, _ *Runner) { o.FileName = "../shop" },
		"a variable that is not for it":   func(o *BackupOptions, _ *Runner) { o.CommandEnv = map[string]string{"LD_PRELOAD": "x"} },
		"a variable with an odd name":     func(o *BackupOptions, _ *Runner) { o.CommandEnv = map[string]string{"RESTIC_MANAGER_X=Y": "x"} },
		"an agent that is not set":        func(_ *BackupOptions, r *Runner) { r.DumpHelper = "" },
		"an agent by its name only":       func(_ *BackupOptions, r *Runner) { r.DumpHelper = "restic-manager-agent" },
		"a tag that restic takes for two": func(o *BackupOptions, _ *Runner) { o.Tag = "a,b" },
	} {
		options, runner := good, playScript(t, "exit 0")
		options.Command, runner.DumpHelper = []string{"pg_dump", "-Fc"}, "/usr/bin/restic-manager-agent"
		change(&options, runner)
		if _, err := runner.Backup(context.Background(), options, nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := []string{"backup", "--host=h", "--tag=t", "--group-by=host,tags", "--stdin-from-command", "--stdin-filename=shop.dump", "--", "/agent", "dump", "--report-fd=3", "--", "pg_dump", ""}
	if diff := cmp.Diff(want, commandArgs("h", "/agent", good)); diff != "" {
		t.Error(diff)
	}
}
