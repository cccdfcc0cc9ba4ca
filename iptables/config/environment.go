package config

import (
	"fmt"
	"strings"
)

// environment holds the variables that are not empty. An empty one counts as not
// set, as for the reference: manifests set variables to "" to keep the default.
type environment map[string]string

// parseEnvironment reads the form of [os.Environ]. If a name comes twice, the last
// counts, as in os/exec.
func parseEnvironment(env []string) environment {
	e := make(environment)
	for _, entry := range env {
		name, text, _ := strings.Cut(entry, "=")
		if text == "" {
			delete(e, name)
			continue
		}
		e[name] = text
	}
	return e
}

// get returns the variable of that name.
func (e environment) get(name string) (Given, bool) {
	text, ok := e[name]
	return Given{ByEnvironment, "environment variable " + name, text}, ok
}

// given returns what the environment says about an option, by all its names, and
// a warning for each variable that only looks like one of them.
func (e environment) given(o Option) (all []Given, warnings []string) {
	for _, name := range o.Variables() {
		g, ok := e.get(name)
		if !ok {
			continue
		}
		if isServiceLink(name, g.Text) {
			warnings = append(warnings, fmt.Sprintf("%v is ignored: it is the address of a Kubernetes service", g))
			continue
		}
		all = append(all, g)
	}
	return all, warnings
}

// isServiceLink recognises what Kubernetes puts into every container for each
// service of its namespace: a service "dns" makes DNS_PORT=tcp://10.0.0.10:53
// (enableServiceLinks in the Pod API). A pod must not fail to start because of it.
func isServiceLink(name, text string) bool {
	return strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}
