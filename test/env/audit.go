package env

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// auditPolicy logs who did what with which result, never a body: Secrets and tokens stay out of the file.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*"]
- level: Metadata
`

// AuditEntry is one request as the API server saw it.
type AuditEntry struct {
	Time        time.Time // of the stage
	Stage       string    // ResponseComplete, ResponseStarted (a watch that began), Panic
	User        string    // "admin", "system:serviceaccount:NAMESPACE:NAME"
	UserAgent   string
	Verb        string // get, list, watch, create, update, patch, delete, deletecollection
	Group       string // empty for the core group
	Resource    string // empty for a request that is not about a resource
	Subresource string
	Namespace   string
	Name        string
	Code        int
	URI         string
}

// IsWrite tells whether the entry is a finished request that may have changed something. A refused one and a dry run are
// not writes.
func (e AuditEntry) IsWrite() bool {
	return e.Stage == "ResponseComplete" &&
		slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, e.Verb) &&
		e.Code < 300 && !strings.Contains(e.URI, "dryRun=All")
}

func (e AuditEntry) String() string {
	return fmt.Sprintf("%s %s %s %s/%s: %d by %s", e.Time.Format("15:04:05.000"), e.Verb, e.resource(), e.Namespace, e.Name, e.Code, e.User)
}

// resource is resource.group/subresource.
func (e AuditEntry) resource() string {
	resource := e.Resource
	if e.Group != "" {
		resource += "." + e.Group
	}
	if e.Subresource != "" {
		resource += "/" + e.Subresource
	}
	return resource
}

// AuditMark is a place in the audit log. The zero value is its beginning.
type AuditMark int64

// Audit returns all entries.
func (c *ControlPlane) Audit() ([]AuditEntry, error) {
	entries, _, err := c.AuditSince(0)
	return entries, err
}

// longestEntry is more than an entry of the audit log takes: it holds no bodies.
const longestEntry = 1 << 20

// AuditMark returns the present end of the log: AuditSince with it returns what came after this call.
func (c *ControlPlane) AuditMark() (AuditMark, error) {
	file, err := os.Open(c.auditFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	// The last line may be half written: it comes after the mark.
	from := max(info.Size()-longestEntry, 0)
	tail, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if err != nil {
		return 0, err
	}
	return AuditMark(from + int64(bytes.LastIndexByte(tail, '\n')+1)), nil
}

// AuditSince returns the entries after a mark, and the mark to go on from.
func (c *ControlPlane) AuditSince(mark AuditMark) ([]AuditEntry, AuditMark, error) {
	file, err := os.Open(c.auditFile())
	if err != nil {
		return nil, mark, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, int64(mark), 1<<40))
	if err != nil {
		return nil, mark, err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1] // the last line may be half written
	var entries []AuditEntry
	for line := range bytes.Lines(data) {
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, mark, fmt.Errorf("reading the audit log: %w: %.200s", err, line)
		}
		entries = append(entries, event.entry())
	}
	return entries, mark + AuditMark(len(data)), nil
}

// auditEvent is the part of audit.k8s.io/v1 Event that is of interest here.
type auditEvent struct {
	Stage          string
	StageTimestamp time.Time
	RequestURI     string
	Verb           string
	UserAgent      string
	User           struct{ Username string }
	ObjectRef      struct{ APIGroup, Resource, Subresource, Namespace, Name string }
	ResponseStatus struct{ Code int }
}

func (e *auditEvent) entry() AuditEntry {
	return AuditEntry{
		Time:        e.StageTimestamp,
		Stage:       e.Stage,
		User:        e.User.Username,
		UserAgent:   e.UserAgent,
		Verb:        e.Verb,
		Group:       e.ObjectRef.APIGroup,
		Resource:    e.ObjectRef.Resource,
		Subresource: e.ObjectRef.Subresource,
		Namespace:   e.ObjectRef.Namespace,
		Name:        e.ObjectRef.Name,
		Code:        e.ResponseStatus.Code,
		URI:         e.RequestURI,
	}
}

func (c *ControlPlane) auditFile() string { return filepath.Join(c.Dir, "audit.log") }
