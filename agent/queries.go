package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/restic-manager/restic-manager/agent/desired"
	"github.com/restic-manager/restic-manager/agent/query"
	"github.com/restic-manager/restic-manager/agent/restic"
	"github.com/restic-manager/restic-manager/api/wire"
)

const (
	// queryGrace is how long a restic that was asked to end may take: it holds no lock.
	queryGrace = 5 * time.Second
	// queryPatience is how long it may retry an unreachable repository: a person waits.
	queryPatience = time.Minute
)

func (a *Agent) newQueries() *query.Answers {
	key := a.config.SigningPrivateKey()
	return query.New(query.Options{
		Verify:     a.verifyQuery,
		SealingKey: a.config.Identity.SealingKey, Sign: func(b []byte) []byte { return ed25519.Sign(key, b) },
		AllowContent: a.config.Allow.Queries.Granted(), Logs: a.jobs, Repository: a.queryRepository, Diagnosis: a.diagnosis,
		Clock: a.o.Clock, Logger: a.logger.With("part", "queries"),
	})
}

func (a *Agent) verifyQuery(m *wire.StreamOpen) (*wire.HostQuery, wire.RefusalReason, error) {
	q, err := a.desired.VerifyQuery(*m)
	var refusal *desired.Refusal
	switch {
	case errors.As(err, &refusal):
		return nil, refusal.Reason, err
	case err != nil:
		return nil, wire.RefusalInvalid, err
	}
	return q, "", nil
}

// queryRepository is the machine's own repository by the set in force, with its credential and caps of the moment.
func (a *Agent) queryRepository(ctx context.Context) (query.Repository, error) {
	set := a.desired.Current()
	if set == nil || set.Tombstone {
		return query.Repository{}, errors.New("this machine has no schedule set yet, and with it no repository")
	}
	binary, err := a.restic.Find(ctx)
	if err != nil {
		return query.Repository{}, err
	}
	credential, err := a.access(set.Repository.Credential).credential()
	if err != nil {
		return query.Repository{}, fmt.Errorf("there is no usable credential for the repository on this machine: %w", err)
	}
	dir := a.config.StateDir
	upload, download := set.Bandwidth.At(a.o.Clock.Now())
	return query.Repository{
		Restic: &restic.Runner{Binary: binary, Hostname: set.ResticHost, CacheDir: filepath.Join(dir, cacheDir), TempDir: filepath.Join(dir, tempDir),
			Proxy: proxyEnvironment(), UnreachableAfter: queryPatience, Grace: queryGrace, Limits: restic.Limits{UploadKBps: upload, DownloadKBps: download},
			Logger: a.logger.With("part", "queries")},
		Repository: restic.Repository{URL: set.Repository.URL, Environment: credential.Environment, CABundle: []byte(set.Repository.CABundle),
			ClientCertificate: []byte(credential.ClientCertificate), Consent: restic.Consent{Rclone: a.config.Allow.Rclone.Granted()}},
		ResticHost: set.ResticHost,
		Tag:        func(group string) string { return tagOf(set, group) },
	}, nil
}

// tagOf is the tag of a group's snapshots. Of a group that is no longer in the set it is its name, unless somebody chose another one then.
func tagOf(set *wire.ScheduleSet, group string) string {
	for i := range set.Groups {
		if set.Groups[i].Name == group {
			return set.Groups[i].Tag
		}
	}
	return group
}
