package imports

import (
	"slices"
	"strings"
)

// rule forbids imports to some packages.
type rule struct {
	says    string
	about   func(path string) bool
	deep    bool // the whole graph, not only direct imports
	forbids func(from string, target pkg) bool
}

// siblings lists what a package may import beside it, below the composition roots. A key and its values are folders
// directly below the root; each entry needs a reason.
var siblings = map[string]map[string][]string{
	"controllers": {
		// Reconcilers use what decides, compiles and reports for them.
		"host":            {"compile", "maintenance", "overdue", "credentials", "status"},
		"sourcegroup":     {"compile", "maintenance", "credentials", "status"},
		"schedule":        {"compile", "maintenance", "credentials", "status"},
		"repomaintenance": {"compile", "maintenance", "credentials", "status"},
		"hostjob":         {"compile", "maintenance", "credentials", "status"},
		"hostquery":       {"status"},
		// The webhook refuses by the rules of the reconcilers; it has none of its own.
		"webhook": {"compile", "maintenance"},
		// Whether there is anything to forget or to verify.
		"maintenance": {"compile"},
		// Who selects whom is decided there; a summary is a condition too.
		"internal": {"compile", "maintenance", "status"},
	},
	// What a package needs of another, it is given; packages below one folder are one subject.
	"agentgateway": {},
	"cli": {
		"restore": {"browse", "job", "untar"}, // it chooses a snapshot, runs jobs, and unpacks
	},
	"agent": {
		"job":   {"restic", "hook", "drill"}, // its state machine runs restic, hooks and restore drills
		"drill": {"restic"},                  // a drill restores with it
		"fires": {"cron"},                    // it takes what cron hands out
		"query": {"restic"},                  // it asks it what a repository holds
		// What the two between which it stands say of a report that is not taken.
		"delivery": {"outbox", "session"},
		// What runs programs shares how they are started, ended with their group, and reaped.
		"restic": {"process"},
		"hook":   {"process"},
		"dump":   {"process"},
	},
}

// foundations are small packages that every sibling may import, as those in a root's internal folder; they know nothing of
// what is built on them.
var foundations = map[string][]string{
	// The one durable way to write a file; the time as an interface; how the gateway is reached.
	"agent": {"atomicfile", "clock", "transport"},
	// The API server, the person, and the machines; times that people write.
	"cli": {"kube", "terminal", "query", "moment"},
}

func in(folders ...string) func(string) bool {
	return func(path string) bool { return below(path, folders...) }
}

func kubernetes(path string) bool {
	return strings.HasPrefix(path, "k8s.io/") || strings.HasPrefix(path, "sigs.k8s.io/")
}

var rules = []rule{
	{
		says:    "api/wire imports the standard library only",
		about:   func(path string) bool { return path == "api/wire" },
		forbids: func(_ string, target pkg) bool { return !target.Standard },
	},
	{
		says:  "api/wire/seal imports api/wire, the AEAD that the standard library keeps to itself, and the standard library only",
		about: in("api/wire/seal"),
		forbids: func(_ string, target pkg) bool {
			return !target.Standard && target.ImportPath != "api/wire" && target.ImportPath != "golang.org/x/crypto/chacha20poly1305"
		},
	},
	{
		says:  "api/wire/pack imports api/wire, its compression and the standard library only",
		about: in("api/wire/pack"),
		forbids: func(_ string, target pkg) bool {
			return !target.Standard && target.ImportPath != "api/wire" && target.ImportPath != "github.com/klauspost/compress/s2"
		},
	},
	{
		says:  "api/cronspec imports the cron library and the standard library only",
		about: in("api/cronspec"),
		forbids: func(_ string, target pkg) bool {
			return !target.Standard && target.ImportPath != "github.com/robfig/cron/v3"
		},
	},
	{
		says:    "api/tlspin imports the standard library only",
		about:   in("api/tlspin"),
		forbids: func(_ string, target pkg) bool { return !target.Standard },
	},
	{
		says:  "api/v1alpha1 imports apimachinery and the standard library only",
		about: in("api/v1alpha1"),
		forbids: func(_ string, target pkg) bool {
			return !target.Standard && !strings.HasPrefix(target.ImportPath, "k8s.io/apimachinery/")
		},
	},
	{
		says:    "internal/version and internal/gather import the standard library only",
		about:   in("internal/version", "internal/gather"),
		forbids: func(_ string, target pkg) bool { return !target.Standard },
	},
	{
		says:    "the agent has no Kubernetes package in its whole graph",
		about:   in("agent", "cmd/restic-manager-agent"),
		deep:    true,
		forbids: func(_ string, target pkg) bool { return kubernetes(target.ImportPath) },
	},
	{
		says:    "controllers never reach agentgateway or agent",
		about:   in("controllers"),
		deep:    true,
		forbids: func(_ string, target pkg) bool { return below(target.ImportPath, "agentgateway", "agent") },
	},
	{
		says:    "agentgateway never reaches controllers or agent",
		about:   in("agentgateway"),
		deep:    true,
		forbids: func(_ string, target pkg) bool { return below(target.ImportPath, "controllers", "agent") },
	},
	{
		says:    "agent never reaches controllers or agentgateway",
		about:   in("agent"),
		deep:    true,
		forbids: func(_ string, target pkg) bool { return below(target.ImportPath, "controllers", "agentgateway") },
	},
	{
		says:  "the plugin stands on the API alone: no controllers, gateway or agent",
		about: in("cli", "cmd/kubectl-restic"),
		deep:  true,
		forbids: func(_ string, target pkg) bool {
			return below(target.ImportPath, "controllers", "agentgateway", "agent")
		},
	},
	{
		says:    "the operator and the agent never reach the plugin",
		about:   in("controllers", "agentgateway", "agent", "api"),
		deep:    true,
		forbids: func(_ string, target pkg) bool { return below(target.ImportPath, "cli") },
	},
	{
		says:    "nothing but cmd and test imports cmd, test or hack",
		about:   func(path string) bool { return own(path) && !below(path, "cmd", "test", "hack") },
		forbids: func(_ string, target pkg) bool { return below(target.ImportPath, "cmd", "test", "hack") },
	},
	{
		says:  "clocks, files and askers that are made for tests stay in tests",
		about: func(path string) bool { return own(path) && !below(path, "test") },
		forbids: func(_ string, target pkg) bool {
			return below(target.ImportPath, "agent/clock/clocktest", "agent/atomicfile/atomicfiletest", "agent/query/querytest")
		},
	},
	{
		says:    "controllers/compile, controllers/maintenance and controllers/overdue are pure: no client, no logger",
		about:   in("controllers/compile", "controllers/maintenance", "controllers/overdue"),
		forbids: func(_ string, target pkg) bool { return impure(target.ImportPath) },
	},
	{
		says:    "agentgateway/admit is pure: no client, no logger",
		about:   in("agentgateway/admit"),
		forbids: func(_ string, target pkg) bool { return impure(target.ImportPath) },
	},
	{
		says:    "agentgateway/session, agentgateway/hub and agentgateway/stream know no Kubernetes",
		about:   in("agentgateway/session", "agentgateway/hub", "agentgateway/stream"),
		forbids: func(_ string, target pkg) bool { return kubernetesBeyondClock(target.ImportPath) },
	},
	{
		says:    "agent/restic knows no wire types",
		about:   in("agent/restic"),
		forbids: func(_ string, target pkg) bool { return below(target.ImportPath, "api/wire") },
	},
	{
		says:  "agent/query knows no session and no job: what it needs of them is in its own interfaces",
		about: func(path string) bool { return path == "agent/query" },
		deep:  true,
		forbids: func(_ string, target pkg) bool {
			return below(target.ImportPath, "agent/session", "agent/job", "agent/desired", "agent/vault", "agent/config")
		},
	},
	{
		says:  "siblings import each other only as the list in rules_test.go allows",
		about: in("controllers", "agentgateway", "agent", "cli"),
		forbids: func(from string, target pkg) bool {
			return forbiddenSibling(from, target.ImportPath)
		},
	},
}

func impure(path string) bool {
	return below(path, "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "github.com/go-logr/logr", "log", "log/slog")
}

// kubernetesBeyondClock excepts k8s.io/utils, which is helpers without any API.
func kubernetesBeyondClock(path string) bool {
	return kubernetes(path) && !below(path, "k8s.io/utils") || below(path, "api/v1alpha1")
}

// forbiddenSibling is about packages below the same root. The root itself wires its children; a child never imports it.
func forbiddenSibling(from, to string) bool {
	root, rest, nested := strings.Cut(from, "/")
	if !nested || !below(to, root) {
		return false
	}
	_, toRest, toNested := strings.Cut(to, "/")
	if !toNested {
		return true
	}
	fromChild, _, _ := strings.Cut(rest, "/")
	toChild, _, _ := strings.Cut(toRest, "/")
	return fromChild != toChild &&
		toChild != "internal" && !slices.Contains(foundations[root], toChild) && !slices.Contains(siblings[root][fromChild], toChild)
}
