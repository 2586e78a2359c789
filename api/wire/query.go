package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// HostQueryLabel is the label of a signed query.
const HostQueryLabel = "restic-manager/host-query/v1"

// QueryKind is what a query asks for.
type QueryKind string

// The kinds of queries.
const (
	QueryLog       QueryKind = "Log"
	QuerySnapshots QueryKind = "Snapshots"
	QueryFiles     QueryKind = "Files"
	QueryFind      QueryKind = "Find"
	QueryDiff      QueryKind = "Diff"
	QueryDiagnosis QueryKind = "Diagnosis"
	QueryContent   QueryKind = "Content"
)

// QueryKinds lists every kind.
func QueryKinds() []QueryKind {
	return []QueryKind{QueryLog, QuerySnapshots, QueryFiles, QueryFind, QueryDiff, QueryDiagnosis, QueryContent}
}

// Limits of queries.
const (
	// MaxQueryParameters bounds the sealed parameters, in bytes.
	MaxQueryParameters = 16 << 10
	// StreamSecretSize is the length of the secret with which an answer is collected, in bytes.
	StreamSecretSize = 32
)

// HostQuery is one signed question to a machine. Its answer is a stream that only the requester can read.
type HostQuery struct {
	Label string  `json:"label"`
	Host  HostRef `json:"host"`
	// IdentityHash binds the query to the machine's keys.
	IdentityHash string `json:"identityHash"`
	// Name and UID are those of the HostQuery object.
	Name string `json:"name"`
	UID  string `json:"uid"`
	// NotAfter is when the query ceases to be valid, and when a stream that answers it ends.
	NotAfter time.Time `json:"notAfter"`
	Kind     QueryKind `json:"kind"`
	// Parameters are a QueryParameters, sealed by the requester to the machine: the gateway and the controllers do not learn which file is asked for.
	Parameters []byte `json:"parameters,omitempty"`
	// PublicKey is the requester's X25519 key, to which the answer is sealed.
	PublicKey []byte `json:"publicKey"`
}

// Validate checks the query's own consistency.
func (q *HostQuery) Validate() error {
	var c checks
	c.that(q.Label == HostQueryLabel, "label is %q, want %q", q.Label, HostQueryLabel)
	c.nested("host", q.Host.Validate())
	c.name("identityHash", q.IdentityHash)
	c.name("name", q.Name)
	c.name("uid", q.UID)
	c.that(!q.NotAfter.IsZero(), "notAfter is missing")
	c.that(slices.Contains(QueryKinds(), q.Kind), "kind %q is not known to this version", q.Kind)
	c.that(len(q.Parameters) <= MaxQueryParameters, "parameters have %d bytes, at most %d are allowed", len(q.Parameters), MaxQueryParameters)
	c.size("publicKey", q.PublicKey, KeySize)
	return c.err
}

// ParseHostQuery parses and validates a query whose signature the caller has verified.
func ParseHostQuery(raw string) (*HostQuery, error) { return parseDocument[HostQuery](raw) }

// StreamSecretHash is the hex SHA-256 of a stream secret, as it stands in the HostQuery.
func StreamSecretHash(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

// QueryParameters say what exactly a query asks for. The one that belongs to the kind may be set, and no other; left out, its zero value is meant.
type QueryParameters struct {
	Log       *LogQuery       `json:"log,omitempty"`
	Snapshots *SnapshotsQuery `json:"snapshots,omitempty"`
	Files     *FilesQuery     `json:"files,omitempty"`
	Find      *FindQuery      `json:"find,omitempty"`
	Diff      *DiffQuery      `json:"diff,omitempty"`
	Content   *ContentQuery   `json:"content,omitempty"`
}

// LogQuery asks for the log of a job: of JobID, or else of the job of Group (any, when empty) that runs, or else of the one that began last.
type LogQuery struct {
	JobID string `json:"jobID,omitempty"`
	Group string `json:"group,omitempty"`
	// Previous asks for the job before that one.
	Previous bool `json:"previous,omitempty"`
	// Offset is where to begin, in bytes of the log. For a reader that goes on where a stream broke off.
	Offset int64 `json:"offset,omitempty"`
	// Since leaves out the lines before it.
	Since *time.Time `json:"since,omitempty"`
	// Follow goes on until the job ends. With JobID it also waits for a job that has not begun.
	Follow bool `json:"follow,omitempty"`
	// Verbose asks for a line per file. Restic is told at its start: of a job that runs already the lines do not come.
	Verbose bool `json:"verbose,omitempty"`
}

// SnapshotsQuery asks for the snapshots of this host, or of another one in the same repository.
type SnapshotsQuery struct {
	// Group narrows it to one group's tag.
	Group string `json:"group,omitempty"`
	// ResticHost is another value of restic's --host; AllHosts asks for those of all hosts.
	ResticHost string `json:"resticHost,omitempty"`
	AllHosts   bool   `json:"allHosts,omitempty"`
}

// FilesQuery lists what a snapshot holds at and below Path.
type FilesQuery struct {
	// Snapshot is an id of at least 8 hex digits.
	Snapshot string `json:"snapshot"`
	// Path is absolute; empty means all from the root.
	Path string `json:"path,omitempty"`
	// Recursive lists the whole tree. Without, what lies in the folder Path.
	Recursive bool `json:"recursive,omitempty"`
}

// FindQuery looks for files by name in the snapshots of this host.
type FindQuery struct {
	// Pattern is a name or a path, with restic's wildcards.
	Pattern    string `json:"pattern"`
	IgnoreCase bool   `json:"ignoreCase,omitempty"`
	// Snapshot and Group narrow it.
	Snapshot string `json:"snapshot,omitempty"`
	Group    string `json:"group,omitempty"`
	// ResticHost is another value of restic's --host.
	ResticHost string `json:"resticHost,omitempty"`
}

// DiffQuery compares two snapshots.
type DiffQuery struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// ContentQuery asks for a file, or for a folder as a tar archive.
type ContentQuery struct {
	Snapshot string `json:"snapshot"`
	// Path is absolute.
	Path string `json:"path"`
	// Tar gives an archive, also of a single file. A folder needs it.
	Tar bool `json:"tar,omitempty"`
}

// Validate checks that the parameters belong to the kind, and their own consistency.
func (p *QueryParameters) Validate(kind QueryKind) error {
	var c checks
	for _, part := range []struct {
		field string
		kind  QueryKind
		is    bool
		need  bool
		check func(*checks)
	}{
		{"log", QueryLog, p.Log != nil, false, p.Log.check},
		{"snapshots", QuerySnapshots, p.Snapshots != nil, false, p.Snapshots.check},
		{"files", QueryFiles, p.Files != nil, true, p.Files.check},
		{"find", QueryFind, p.Find != nil, true, p.Find.check},
		{"diff", QueryDiff, p.Diff != nil, true, p.Diff.check},
		{"content", QueryContent, p.Content != nil, true, p.Content.check},
	} {
		c.that(!part.is || kind == part.kind, "%s belongs to kind %s", part.field, part.kind)
		c.that(part.is || !part.need || kind != part.kind, "%s is missing for kind %s", part.field, part.kind)
		if part.is {
			part.check(&c)
		}
	}
	return c.err
}

func (q *LogQuery) check(c *checks) {
	c.optionalName("log.jobID", q.JobID)
	c.that(!strings.ContainsAny(q.JobID, "/\x00"), "log.jobID is no job id")
	c.optionalName("log.group", q.Group)
	c.that(q.Offset >= 0, "log.offset is negative")
	c.that(q.JobID == "" || q.Group == "" && !q.Previous, "log.jobID names one job: group and previous exclude it")
}

func (q *SnapshotsQuery) check(c *checks) {
	c.optionalName("snapshots.group", q.Group)
	c.optionalName("snapshots.resticHost", q.ResticHost)
	c.that(q.ResticHost == "" || !q.AllHosts, "snapshots.resticHost and allHosts exclude each other")
}

func (q *FilesQuery) check(c *checks) {
	c.that(isSnapshotID(q.Snapshot), "files.snapshot %q is no id", q.Snapshot)
	c.that(q.Path == "" || strings.HasPrefix(q.Path, "/"), "files.path is not absolute")
	c.text("files.path", q.Path, MaxString)
}

func (q *FindQuery) check(c *checks) {
	c.that(q.Pattern != "", "find.pattern is missing")
	c.text("find.pattern", q.Pattern, MaxString)
	c.that(q.Snapshot == "" || isSnapshotID(q.Snapshot), "find.snapshot %q is no id", q.Snapshot)
	c.optionalName("find.group", q.Group)
	c.optionalName("find.resticHost", q.ResticHost)
}

func (q *DiffQuery) check(c *checks) {
	c.that(isSnapshotID(q.From), "diff.from %q is no id", q.From)
	c.that(isSnapshotID(q.To), "diff.to %q is no id", q.To)
}

func (q *ContentQuery) check(c *checks) {
	c.that(isSnapshotID(q.Snapshot), "content.snapshot %q is no id", q.Snapshot)
	c.that(strings.HasPrefix(q.Path, "/"), "content.path is not absolute")
	c.text("content.path", q.Path, MaxString)
}
