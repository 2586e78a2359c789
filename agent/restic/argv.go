package restic

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// globals are what every run gets before its subcommand.
type globals struct {
	text                                bool // without --json
	cacheDir, caFile, clientCertificate string
	limits                              Limits
	retryLock                           time.Duration
}

// args joins each value to its flag with "=", so that none can be taken for another flag.
func (g globals) args() []string {
	args := []string{"--json", "--cache-dir=" + g.cacheDir}
	if g.text {
		args = args[1:]
	}
	if g.caFile != "" {
		args = append(args, "--cacert="+g.caFile)
	}
	if g.clientCertificate != "" {
		args = append(args, "--tls-client-cert="+g.clientCertificate)
	}
	if g.limits.UploadKBps > 0 {
		args = append(args, "--limit-upload="+strconv.Itoa(g.limits.UploadKBps))
	}
	if g.limits.DownloadKBps > 0 {
		args = append(args, "--limit-download="+strconv.Itoa(g.limits.DownloadKBps))
	}
	if g.retryLock > 0 {
		args = append(args, "--retry-lock="+g.retryLock.String())
	}
	return args
}

// backupArgs are those of one backup. The parent snapshot is this host's newest with the same tag, so that changing the paths of
// a group keeps its parent, and two groups never share one.
func backupArgs(host string, o BackupOptions) []string {
	args := []string{"backup", "--host=" + host, "--tag=" + o.Tag, "--group-by=host,tags"}
	if o.Verbose {
		args = append(args, "--verbose=2")
	}
	args = appendEach(args, "--exclude=", o.Excludes)
	args = appendEach(args, "--iexclude=", o.ExcludesIgnoreCase)
	if o.ExcludeCaches {
		args = append(args, "--exclude-caches")
	}
	args = appendEach(args, "--exclude-if-present=", o.ExcludeIfPresent)
	if o.ExcludeLargerThan != "" {
		args = append(args, "--exclude-larger-than="+o.ExcludeLargerThan)
	}
	if o.OneFileSystem {
		args = append(args, "--one-file-system")
	}
	if o.SkipIfUnchanged {
		args = append(args, "--skip-if-unchanged")
	}
	args = append(args, "--")
	return append(args, o.Paths...)
}

func restoreArgs(snapshot string, o RestoreOptions) []string {
	overwrite := o.Overwrite
	if overwrite == "" {
		overwrite = OverwriteIfChanged
	}
	args := []string{"restore", "--target=" + o.Target, "--overwrite=" + string(overwrite)}
	args = appendEach(args, "--include=", o.Includes)
	args = appendEach(args, "--exclude=", o.Excludes)
	if o.DryRun {
		args = append(args, "--dry-run")
	}
	if o.Verify {
		args = append(args, "--verify")
	}
	if o.Sparse {
		args = append(args, "--sparse")
	}
	return append(args, "--", snapshot)
}

func snapshotsArgs(f SnapshotFilter) []string {
	return append([]string{"--no-lock", "snapshots"}, f.args()...)
}

func (f SnapshotFilter) args() []string {
	var args []string
	if f.Host != "" {
		args = append(args, "--host="+f.Host)
	}
	if f.Tag != "" {
		args = append(args, "--tag="+f.Tag)
	}
	args = appendEach(args, "--path=", f.Paths)
	if f.Newest > 0 {
		args = append(args, "--latest="+strconv.Itoa(f.Newest))
	}
	return args
}

func appendEach(args []string, flag string, values []string) []string {
	for _, value := range values {
		args = append(args, flag+value)
	}
	return args
}

var (
	sizePattern     = regexp.MustCompile(`^[0-9]+[kKmMgGtT]?$`)
	snapshotPattern = regexp.MustCompile(`^[0-9a-f]{8,64}$`)
)

// check refuses what restic would misunderstand. A comma in a tag means two tags, an empty host means all hosts.
func (o BackupOptions) check() error {
	if err := checkName("tag", o.Tag); err != nil {
		return err
	}
	if len(o.Command) > 0 {
		return o.Limits.check() // checkCommand tells the rest
	}
	if len(o.Paths) == 0 {
		return invalid("there is no path to back up")
	}
	for _, path := range o.Paths {
		if err := checkText("the path", path); err != nil {
			return err
		}
		if !filepath.IsAbs(path) {
			return invalid("the path %q is not absolute", path)
		}
	}
	for _, list := range []struct {
		name     string
		patterns []string
	}{{"exclude", o.Excludes}, {"case-insensitive exclude", o.ExcludesIgnoreCase}} {
		if err := checkPatterns(list.name, list.patterns); err != nil {
			return err
		}
	}
	for _, name := range o.ExcludeIfPresent {
		if err := checkText("excludeIfPresent", name); err != nil {
			return err
		}
	}
	if o.ExcludeLargerThan != "" && !sizePattern.MatchString(o.ExcludeLargerThan) {
		return invalid("excludeLargerThan %q is not a size; write a number with an optional k, M, G or T", o.ExcludeLargerThan)
	}
	return o.Limits.check()
}

func (o RestoreOptions) check() error {
	switch {
	case o.Snapshot == Latest:
		if o.Filter.Host == "" && o.Filter.Tag == "" {
			return invalid("the latest snapshot needs a host or a tag to look for")
		}
	case !snapshotPattern.MatchString(o.Snapshot):
		return invalid("the snapshot %q is neither %q nor an id (8 to 64 of 0-9 and a-f)", o.Snapshot, Latest)
	}
	if err := o.Filter.check(); err != nil {
		return err
	}
	if err := checkText("the target", o.Target); err != nil {
		return err
	}
	if !filepath.IsAbs(o.Target) {
		return invalid("the target %q is not an absolute path", o.Target)
	}
	if len(o.Includes)+len(o.ExactPaths) > 0 && len(o.Excludes) > 0 {
		return invalid("a restore takes includes or excludes, not both")
	}
	if err := checkPatterns("include", o.Includes); err != nil {
		return err
	}
	if err := checkPatterns("exclude", o.Excludes); err != nil {
		return err
	}
	if err := checkExactPaths(o.ExactPaths); err != nil {
		return err
	}
	switch o.Overwrite {
	case "", OverwriteAlways, OverwriteIfChanged, OverwriteIfNewer, OverwriteNever:
	default:
		return invalid("the overwrite policy %q is none of %s, %s, %s, %s", o.Overwrite, OverwriteAlways, OverwriteIfChanged, OverwriteIfNewer, OverwriteNever)
	}
	if o.DryRun && o.Verify {
		return invalid("a dry run writes nothing that could be verified")
	}
	return o.Limits.check()
}

func (f SnapshotFilter) check() error {
	if f.Host != "" {
		if err := checkText("the host", f.Host); err != nil {
			return err
		}
	}
	if f.Tag != "" {
		if err := checkName("tag", f.Tag); err != nil {
			return err
		}
	}
	for _, path := range f.Paths {
		if !filepath.IsAbs(path) {
			return invalid("the snapshot filter's path %q is not absolute", path)
		}
	}
	return nil
}

func (l Limits) check() error {
	if l.UploadKBps < 0 || l.DownloadKBps < 0 {
		return invalid("a bandwidth limit is negative")
	}
	return nil
}

// or fills what is not set from the defaults.
func (l Limits) or(defaults Limits) Limits {
	if l.UploadKBps == 0 {
		l.UploadKBps = defaults.UploadKBps
	}
	if l.DownloadKBps == 0 {
		l.DownloadKBps = defaults.DownloadKBps
	}
	return l
}

func checkName(what, name string) error {
	if err := checkText("the "+what, name); err != nil {
		return err
	}
	if strings.ContainsRune(name, ',') {
		return invalid("the %s %q holds a comma, which restic takes for two", what, name)
	}
	return nil
}

func checkPatterns(what string, patterns []string) error {
	for _, pattern := range patterns {
		if err := checkText("the "+what+" pattern", pattern); err != nil {
			return err
		}
		if _, err := filepath.Match(strings.TrimPrefix(pattern, "!"), ""); err != nil {
			return invalid("the %s pattern %q is not valid: %v", what, pattern, err)
		}
	}
	return nil
}

func checkText(what, text string) error {
	if text == "" {
		return invalid("%s is empty", what)
	}
	if strings.ContainsRune(text, 0) {
		return invalid("%s %q holds a NUL byte", what, text)
	}
	return nil
}
