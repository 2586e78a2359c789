// Package doctor walks the chain from the cluster to a machine's repository, and says of each link whether it is fine, or what is wrong and what mends it.
//
// # Use
//
//	facts := (&doctor.Gatherer{…}).Gather(ctx, namespace, host)
//	findings := doctor.Judge(facts)
//	doctor.Print(t, findings)
//
// # Internals
//
// Gather reads everything that the person may read and judges nothing: what could not be read is a fact too. Judge is pure, a list of links in the order of the chain.
// Its findings have a command wherever there is one; what a broken link makes unknowable is Skipped, so that one cause is named and not its ten consequences.
package doctor
