package enroll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/restic-manager/restic-manager/agent/atomicfile"
	"github.com/restic-manager/restic-manager/agent/clock"
	"github.com/restic-manager/restic-manager/agent/transport"
	"github.com/restic-manager/restic-manager/api/wire"
	"github.com/restic-manager/restic-manager/api/wire/seal"
)

const (
	// DefaultTimeout is how long the verdict may take.
	DefaultTimeout = 5 * time.Minute
	// defaultRetry is the wait between two requests when the gateway names none.
	defaultRetry = 2 * time.Second
	// recordPatience is how long a gateway may not know a token yet: the controllers write it into the Secret first and into the Host's status,
	// which the gateway reads, next. A person never is that fast; a script that waits for the Secret is.
	recordPatience = 10 * time.Second
	// skewLimit is the difference of clocks that is worth a word.
	skewLimit = 5 * time.Minute
	// maxAnswer bounds the gateway's answer.
	maxAnswer = wire.MaxFrame
)

// Result is what a machine knows of itself once it is enrolled.
type Result struct {
	Host        wire.HostRef
	HostUID     string
	GatewayURL  string
	TLSPins     []string
	Keys        Keys
	SigningKeys []wire.SigningKey
	SerialFloor int64
}

// Store is where the result goes.
type Store interface {
	// Enrolled describes the enrolment that is there already (the host's name), or "".
	Enrolled() string
	// CheckWritable tells whether Save could work.
	CheckWritable() error
	Save(Result) error
}

// Options of Run. Token, Store, PendingPath, AgentVersion are required.
type Options struct {
	// Token as it was given; white space around it does not count.
	Token string
	Store Store
	// Force replaces an enrolment that is there.
	Force bool
	// PendingPath is where the keys lie until the verdict.
	PendingPath  string
	AgentVersion string
	System       wire.System
	// Timeout bounds all of it; 0 means DefaultTimeout.
	Timeout time.Duration
	Clock   clock.Clock
	// Say tells the person what goes on, a line at a time; nil: nothing.
	Say func(string)
}

// Run enrols this machine.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	token, err := parse(o.Token)
	if err != nil {
		return nil, err
	}
	if there := o.Store.Enrolled(); there != "" && !o.Force {
		return nil, fail(CauseExists, "this machine is enrolled already, as Host %s; nothing was changed. To enrol it anew, as %s, add --force", there, token.Host)
	}
	if err := o.Store.CheckWritable(); err != nil {
		return nil, fail(CauseStorage, "the result could not be saved, so the gateway was not asked and the token is still good: %v", err).because(err)
	}
	keys, identity, err := pendingKeys(o.PendingPath, token.ID)
	if err != nil {
		return nil, fail(CauseStorage, "the new keys cannot be saved, so the gateway was not asked and the token is still good: %v", err).because(err)
	}
	e := &enrolment{o: o, token: token, identity: identity}
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	result := &Result{Host: token.Host, HostUID: token.HostUID, GatewayURL: token.URL, TLSPins: token.TLSPins, Keys: keys,
		SigningKeys: token.SigningKeys, SerialFloor: token.SerialFloor}
	if err := o.Store.Save(*result); err != nil {
		return nil, fail(CauseStorage, "the controllers approved, and the result cannot be saved (%v): mend that and run the same command line again", err).because(err)
	}
	if err := atomicfile.Remove(o.PendingPath); err != nil {
		o.Say(fmt.Sprintf("%s could not be removed (%v): it holds this machine's keys, remove it by hand", o.PendingPath, err))
	}
	return result, nil
}

func parse(text string) (*wire.Token, error) {
	token, err := wire.ParseToken(text)
	if errors.Is(err, wire.ErrTokenDamaged) {
		return nil, fail(CauseTokenDamaged, "%s", err.Error()).because(err)
	}
	if err != nil {
		// The reason may quote a part of the token.
		return nil, fail(CauseTokenDamaged, "the token is of another version or was changed: ask for a new one, and for an agent of the version that fits it")
	}
	// Whether it is too old is for the gateway to say: its clock counts, and people see the attempt on the Host.
	return token, nil
}

// enrolment is one run against the gateway.
type enrolment struct {
	o        Options
	token    *wire.Token
	identity wire.Identity
	client   *http.Client
	// skew is how far this machine's clock is ahead of the gateway's, as of the last answer.
	skew time.Duration
	// told is what was said last about why it takes so long.
	told string
}

func (e *enrolment) run(ctx context.Context) error {
	client, err := transport.NewClient(e.token.URL, e.token.TLSPins)
	if err != nil {
		return fail(CauseTokenDamaged, "the token holds something that this agent does not understand (%v): use an agent of the version that fits it", err)
	}
	e.client = client
	body, err := e.request()
	if err != nil {
		return err
	}
	began := e.o.Clock.Now()
	deadline, recorded := began.Add(e.o.Timeout), began.Add(recordPatience)
	e.say(fmt.Sprintf("asking %s to enrol this machine as Host %s", e.token.URL, e.token.Host))
	for {
		wait, err := e.ask(ctx, body)
		if err == nil && wait == 0 {
			return nil
		}
		var f *Failure
		if ctx.Err() != nil {
			return fail(CauseStopped, "stopped before there was a verdict; run the same command line again to go on")
		}
		temporary := err != nil && wait > 0 && errors.As(err, &f) && (f.Cause == CauseGateway || f.Cause == CauseTokenUnknown && e.o.Clock.Now().Before(recorded))
		if err != nil && !temporary {
			return err
		}
		if e.o.Clock.Now().Add(wait).After(deadline) {
			if temporary {
				return err
			}
			return fail(CauseTimeout, "there was no verdict within %v: the gateway took the request, and the controllers have not answered; "+
				"see whether they run and what the Host's Events say (kubectl describe host -n %s %s), then run the same command line again",
				e.o.Timeout, e.token.Host.Namespace, e.token.Host.Name)
		}
		if temporary {
			e.say(err.Error() + "; trying again")
		} else {
			e.say("the gateway took the request; waiting for the controllers' verdict")
		}
		if !e.sleep(ctx, wait) {
			return fail(CauseStopped, "stopped before there was a verdict; run the same command line again to go on")
		}
	}
}

func (e *enrolment) say(what string) {
	if what != e.told {
		e.told = what
		e.o.Say(what)
	}
}

func (e *enrolment) sleep(ctx context.Context, d time.Duration) bool {
	timer := e.o.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C():
		return true
	}
}

func (e *enrolment) request() ([]byte, error) {
	t := e.token
	request := wire.EnrolRequest{Host: t.Host, HostUID: t.HostUID, TokenID: t.ID, Identity: e.identity,
		Proof: wire.EnrolProof(t.Secret, t.HostUID, t.ID, e.identity), AgentVersion: e.o.AgentVersion, System: e.o.System}
	if err := request.Validate(); err != nil {
		return nil, fail(CauseRefused, "the request is not valid (%v): this is a defect of the agent", err)
	}
	return json.Marshal(request)
}

// ask sends the request once. A wait above 0 means: ask again then; with an error, that it may get better by itself.
func (e *enrolment) ask(ctx context.Context, body []byte) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(e.token.URL, "/")+wire.EnrolPath, bytes.NewReader(body))
	if err != nil {
		return 0, fail(CauseGateway, "the gateway's address is not usable: %v", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "restic-manager-agent/"+e.o.AgentVersion)
	response, err := e.client.Do(request)
	if err != nil {
		problem, sentence := transport.Explain(err, e.token.URL)
		switch problem {
		case transport.ProblemTimeout, transport.ProblemCut:
			return defaultRetry, fail(CauseGateway, "%s", sentence).because(err)
		}
		return 0, fail(CauseGateway, "%s", sentence).because(err)
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		e.skew = e.o.Clock.Now().Sub(date)
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil || len(raw) > maxAnswer {
		return defaultRetry, fail(CauseGateway, "the gateway's answer could not be read to its end").because(err)
	}
	switch {
	case response.StatusCode == http.StatusOK || response.StatusCode == http.StatusAccepted:
		return e.answer(response.StatusCode, raw)
	default:
		return e.refusal(response, raw)
	}
}

func (e *enrolment) answer(status int, raw []byte) (time.Duration, error) {
	var answer wire.EnrolResponse
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Validate() != nil {
		return 0, fail(CauseGateway, "%s answers, and not as a restic-manager gateway does: check the address in the token with its administrators", e.token.URL)
	}
	if status == http.StatusAccepted {
		if answer.RetryAfterSeconds > 0 {
			return time.Duration(answer.RetryAfterSeconds) * time.Second, nil
		}
		return defaultRetry, nil
	}
	return 0, e.judge(answer)
}

// judge believes a verdict only under the token's keys, for this host, token and keys.
func (e *enrolment) judge(answer wire.EnrolResponse) error {
	forged := func(why string) error {
		return fail(CauseForged, "the gateway sent a verdict that the controllers did not give for this machine (%s): nothing was changed; "+
			"tell the administrators of %s, somebody may be in between", why, e.token.URL)
	}
	if err := seal.Verify(answer.Verdict, answer.Signatures, e.token.SigningKeys); err != nil {
		return forged(err.Error())
	}
	verdict, err := wire.ParseEnrolVerdict(answer.Verdict)
	if err != nil {
		return forged(err.Error())
	}
	switch {
	case verdict.Host != e.token.Host || verdict.HostUID != e.token.HostUID:
		return forged("it is about Host " + verdict.Host.String())
	case verdict.TokenIDHash != wire.TokenIDHash(e.token.ID):
		return forged("it is about another token")
	case verdict.IdentityHash != e.identity.Hash():
		return forged("it is about other keys")
	case verdict.Approved:
		return nil
	}
	switch verdict.Reason {
	case wire.EnrolTokenExpired:
		return fail(CauseTokenExpired, "the token has expired%s: %s", e.clockHint(), newToken(e.token.Host))
	case wire.EnrolWrongProof:
		return fail(CauseTokenDamaged, "the token was changed on its way: copy the command line from the enrollment Secret again, or %s", newToken(e.token.Host))
	}
	return fail(CauseRefused, "the controllers refused this machine (%s): %s", verdict.Reason, verdict.Message)
}

// refusal is an HTTP error: the gateway's own, or of something in between.
func (e *enrolment) refusal(response *http.Response, raw []byte) (time.Duration, error) {
	refused := transport.ErrorOf(raw)
	if refused == nil {
		wait := time.Duration(0)
		if response.StatusCode >= 500 {
			wait = defaultRetry
		}
		return wait, fail(CauseGateway, "%s answers HTTP %d to an enrolment: check the address in the token, and any proxy in between",
			e.token.URL, response.StatusCode)
	}
	host := e.token.Host.String()
	switch refused.Code {
	case wire.CodeTokenUsed:
		return 0, fail(CauseTokenUsed, "the token was used already, by a machine with other keys. If that was not you, tell your administrators; else %s", newToken(e.token.Host))
	case wire.CodeTokenExpired:
		return 0, fail(CauseTokenExpired, "the token has expired%s: %s", e.clockHint(), newToken(e.token.Host))
	case wire.CodeTokenUnknown:
		if now := e.o.Clock.Now(); now.After(e.token.NotAfter) {
			return 0, fail(CauseTokenExpired, "the gateway does not know this token, which expired at %s (this machine's clock says %s): %s",
				e.token.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), newToken(e.token.Host))
		}
		return defaultRetry, fail(CauseTokenUnknown, "the gateway does not know this token: a newer one was minted, or the Host %s was deleted or made anew; %s", host, newToken(e.token.Host))
	case wire.CodeBusy:
		return max(defaultRetry, time.Duration(refused.RetryAfterSeconds)*time.Second), fail(CauseGateway, "the gateway is busy")
	case wire.CodeProtocolTooOld:
		return 0, fail(CauseRefused, "this agent is too old for the gateway: install a newer restic-manager-agent %s", refused.HelpURL)
	}
	return 0, fail(CauseRefused, "the gateway refused the enrolment: %s", refused.Error())
}

// clockHint is for the machine whose clock makes a fresh token look old, or an old one fresh.
func (e *enrolment) clockHint() string {
	if e.skew > -skewLimit && e.skew < skewLimit {
		return ""
	}
	direction, by := "ahead of", e.skew
	if by < 0 {
		direction, by = "behind", -by
	}
	return fmt.Sprintf(" (this machine's clock is %s %s the gateway's: set it first)", by.Round(time.Second), direction)
}
