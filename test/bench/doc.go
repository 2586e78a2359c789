// Command bench measures what restic-manager costs, by the thousand: against a real API server, etcd, controllers and gateways, with simulated agents
// (test/swarm) that speak the real protocol. Each figure is compared with a baseline that is measured in the same run, so that the machine matters little.
//
//	go run ./test/bench                          all scenes, with 2,000 agents
//	go run ./test/bench -agents 10000 idle storm two of them, with more
//	go run ./test/bench -page docs/performance.md   and keep the table there
//
// # Scenes
//
// Each is a file with its name, and says there what is measured and against what. They share one world: a fleet whose Hosts are all matched by ten
// SourceGroups and three Schedules, unless a scene says otherwise. The scene of the agent has none: one real agent backs up beside plain restic and resticprofile
// (program.go), and is compared pair by pair (cost.go).
//
// # Internals
//
// Memory and CPU are those that the kernel tells of a process (VmRSS, the process's CPU clock). API writes are counted in the API server's audit log. The agents are
// in this process; gateways, controllers and API server are processes of their own, and so is the bare server of the baselines, which is this program again.
//
// # Trade-offs
//
// Everything shares the machine's cores. Where a whole wave is timed, so is the work of the agents and of the API server: the ratio with the baseline, which
// shares them as well, says more than the time. A machine whose pace changes by more than a bar is wide leaves the bar open; what an agent adds to a first backup
// is then told by what is done outside of restic's own work.
package main
