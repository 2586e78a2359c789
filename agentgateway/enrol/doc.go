// Package enrol answers the machines that want to enrol: HTTP POST wire.EnrolPath.
//
// # What it decides, and what not
//
// The gateway takes a request only from somebody who shows the id of the host's current token (the Host holds its SHA-256), and records it in
// Host status. Whether the keys are pinned is decided by the controllers, who alone know the token's secret; their signed verdict is handed
// out to whoever asks for exactly that token and those keys. So nothing here needs a secret, and nothing here can enrol a machine.
//
// A wrong token, a wrong UID and a Host that does not exist get one and the same answer. Each refusal leaves an Event on the Host, one per
// reason and hour.
//
// # Limits
//
// Requests are limited per remote address, per host and remote address together, and per host for those that show a token of it, in tables of
// bounded size; what is over is answered with HTTP 429. So who merely knows a host's name cannot hold up its enrolment from another address.
// The tables' lock is held for a map lookup only.
package enrol
