// Package objectwatch waits for a change of single objects, each known by its name, without a cache: for keepers of one or two Secrets, which the manager's
// cache must not hold.
//
// # Use
//
//	w := objectwatch.Watcher{Client: live, Clock: clock}
//	at, err := w.Look(ctx, &corev1.SecretList{}, "restic-manager-webhook-tls", client.InNamespace(namespace))
//	…                                                        // work with what the list holds
//	at.Version = secret.ResourceVersion                      // what was just written is no news
//	w.Wait(ctx, until, []objectwatch.Seen{at})
//
// Trouble tells what hinders such a keeper once, until it changes.
//
// An object that cannot be listed is not watched; the caller looks again when its time is over.
package objectwatch
