package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/config"
	"github.com/restic-manager/restic-manager/agent/enroll"
	"github.com/restic-manager/restic-manager/api/wire"
)

// EnrolOptions of Enrol.
type EnrolOptions struct {
	Token string
	// ConfigPath is where agent.yaml goes; StateDir and ResticPath are written into it when they are not the default.
	ConfigPath string
	StateDir   string
	ResticPath string
	Allow      config.Allow
	Force      bool
	Version    string
	Say        func(string)
}

// Enrol makes this machine known to its Host and writes agent.yaml.
func Enrol(ctx context.Context, o EnrolOptions) (wire.HostRef, error) {
	result, err := enroll.Run(ctx, enroll.Options{
		Token:        o.Token,
		Store:        &enrolStore{o},
		Force:        o.Force,
		PendingPath:  o.ConfigPath + ".pending",
		AgentVersion: o.Version,
		System:       thisSystem(),
		Clock:        clock.Real{},
		Say:          o.Say,
	})
	if err != nil {
		return wire.HostRef{}, err
	}
	return result.Host, nil
}

// enrolStore brings an enrolment into agent.yaml.
type enrolStore struct{ o EnrolOptions }

// Enrolled implements enroll.Store. A file that does not load is an enrolment too: nobody's keys are thrown away unasked.
func (s *enrolStore) Enrolled() string {
	if _, err := os.Lstat(s.o.ConfigPath); err != nil {
		return "" // CheckWritable tells what is wrong with the folder
	}
	c, err := config.Load(s.o.ConfigPath)
	if err == nil {
		return c.Ref().String()
	}
	return fmt.Sprintf("unknown (%v)", err)
}

// CheckWritable implements enroll.Store: it makes the folders, and tries a file in each.
func (s *enrolStore) CheckWritable() error {
	for _, dir := range []string{filepath.Dir(s.o.ConfigPath), s.o.StateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return cannotWrite(dir, err)
		}
		probe, err := os.CreateTemp(dir, ".tmp-probe-*")
		if err != nil {
			return cannotWrite(dir, err)
		}
		_ = probe.Close()
		if err := os.Remove(probe.Name()); err != nil {
			return cannotWrite(dir, err)
		}
	}
	c := config.Config{StateDir: s.o.StateDir, ResticPath: s.o.ResticPath, Allow: s.o.Allow}
	return c.ValidateLocal()
}

func cannotWrite(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 {
		return fmt.Errorf("%s cannot be written by this user; run the command as root (sudo)", dir)
	}
	return fmt.Errorf("%s cannot be written: %w", dir, err)
}

// Save implements enroll.Store.
func (s *enrolStore) Save(r enroll.Result) error {
	c := &config.Config{
		Host:        config.Host{Namespace: r.Host.Namespace, Name: r.Host.Name, UID: r.HostUID},
		Gateway:     config.Gateway{URL: r.GatewayURL, TLSPins: r.TLSPins},
		Identity:    config.Identity{SigningKey: r.Keys.SigningSeed, SealingKey: r.Keys.SealingKey},
		SigningKeys: config.FromWire(r.SigningKeys),
		SerialFloor: r.SerialFloor,
		Allow:       s.o.Allow,
		StateDir:    s.o.StateDir,
		ResticPath:  s.o.ResticPath,
	}
	return c.Save(s.o.ConfigPath)
}
