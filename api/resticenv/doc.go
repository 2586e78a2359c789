// Package resticenv says which backends restic has and which environment variables may reach it. The controllers judge a credentials Secret by
// it, so that a person hears of a mistake before a machine does; the agent judges again, since it trusts nobody with root.
//
// # Use
//
//	backend, err := resticenv.Backend("rest:https://backup.example.com/web-1")   // "rest"
//	err = resticenv.Check(backend, map[string]string{"RESTIC_PASSWORD": "…"})
//
// An error completes a sentence that begins with "… holds": it names the variable, never a value.
//
// # Why a list of what is allowed
//
// Many a variable that restic, its libraries, ssh or rclone understand runs a program or reads a file as root (RESTIC_PASSWORD_COMMAND,
// RESTIC_PASSWORD_FILE, PATH, LD_PRELOAD, AWS_SHARED_CREDENTIALS_FILE with its credential_process, AZURE_FORCE_CLI_CREDENTIAL), or changes
// whose backups these are (RESTIC_HOST, RESTIC_REPOSITORY). RCLONE_* does so too; it passes here for rclone: repositories, and the agent
// asks for its machine's consent on top.
//
// Standard library only; everything is pure and safe for concurrent use.
package resticenv
