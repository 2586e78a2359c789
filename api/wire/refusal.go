package wire

// RefusalReason says why an agent does not obey a set or a command.
type RefusalReason string

// The reasons of a refusal.
const (
	RefusalBadSignature RefusalReason = "BadSignature"
	RefusalWrongHost    RefusalReason = "WrongHost"
	// RefusalWrongIdentity: made for other keys than this machine's.
	RefusalWrongIdentity RefusalReason = "WrongIdentity"
	RefusalOlderSerial   RefusalReason = "OlderSerial"
	RefusalBadCredential RefusalReason = "BadCredential"
	RefusalInvalid       RefusalReason = "Invalid"
	RefusalExpired       RefusalReason = "Expired"
	// RefusalNotAllowed: the machine's agent.yaml does not consent.
	RefusalNotAllowed RefusalReason = "NotAllowedByMachine"
	// RefusalAlreadyRun: the command was run before; its result is sent again.
	RefusalAlreadyRun RefusalReason = "AlreadyRun"
	// RefusalStorage: the agent could not store it.
	RefusalStorage RefusalReason = "StorageFailed"
)
