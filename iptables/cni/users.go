package cni

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// namespaceUsers are the users that the proxy runs as in some namespaces of Kubernetes.
type namespaceUsers struct {
	// pattern is one of [path.Match].
	pattern string
	users   []uint32
}

// ProxyUser is a user that the proxy runs as in the namespaces of a pattern.
type ProxyUser struct {
	Pattern string
	User    uint32
}

// ProxyUsers returns a value that is a list of these, such as shop=1000650000.
func ProxyUsers(target *[]ProxyUser) pflag.Value {
	return config.List[ProxyUser]{
		Target: target,
		Kind:   "pattern=user",
		Must:   "PATTERN=USER, a pattern of namespaces and a number,",
		Parse: func(word string) (ProxyUser, error) {
			pattern, user, ok := strings.Cut(word, "=")
			if !ok || checkPattern(pattern) != nil {
				return ProxyUser{}, errors.New("has no pattern such as openshift-* before a =")
			}
			id, err := config.ParseID(user, "user", config.PodUsers{}.UserID)
			return ProxyUser{pattern, id}, err
		},
		Print: func(p ProxyUser) string { return fmt.Sprintf("%s=%d", p.Pattern, p.User) },
	}
}

// checkPattern returns an error if a text is no pattern of namespaces.
func checkPattern(text string) error {
	_, err := path.Match(text, "")
	if err == nil && text == "" {
		err = errors.New("an empty pattern")
	}
	return err
}

// setProxyUsers reads who the proxy is by namespace. The longest pattern comes first: it says
// most about the namespace. Those of one length are in the order of their names.
func (c *configuration) setProxyUsers(value json.RawMessage) error {
	var patterns map[string]json.RawMessage
	if err := json.Unmarshal(value, &patterns); err != nil {
		return wrong(keyProxyUsers, value, err, `an object of patterns of namespaces with their users, such as {"shop": 1000650000}`)
	}
	var errs []error
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		source := keyProxyUsers + "." + pattern
		if checkPattern(pattern) != nil {
			errs = append(errs, fmt.Errorf("%s: must be a pattern of namespaces such as openshift-*", source))
		}
		users, err := readUsers(patterns[pattern])
		errs = append(errs, wrong(source, patterns[pattern], err, "a user or a list of users, as numbers such as 1000650000"))
		c.proxyUsers = append(c.proxyUsers, namespaceUsers{pattern, users})
	}
	slices.SortStableFunc(c.proxyUsers, func(a, b namespaceUsers) int { return cmp.Compare(len(b.pattern), len(a.pattern)) })
	return errors.Join(errs...)
}

// readUsers reads one number, or some.
func readUsers(value json.RawMessage) (users []uint32, err error) {
	if err = json.Unmarshal(value, &users); err != nil {
		users = make([]uint32, 1)
		err = json.Unmarshal(value, &users[0])
	}
	// The largest number stands for "no user" (chown(2)).
	if err == nil && (len(users) == 0 || slices.Contains(users, math.MaxUint32)) {
		err = errors.New("no user")
	}
	return config.Distinct(users), err
}

// usersIn returns the users of the first pattern that a namespace matches; nil if there is none.
func (c *configuration) usersIn(namespace string) []uint32 {
	at := slices.IndexFunc(c.proxyUsers, func(n namespaceUsers) bool {
		matches, _ := path.Match(n.pattern, namespace)
		return matches && namespace != ""
	})
	if at < 0 {
		return nil
	}
	return c.proxyUsers[at].users
}

// userOption returns the option of a policy that says as which users the proxy runs; "" if it has
// none.
func userOption(policy capture.Policy) string {
	defaults, _, err := capture.Overlay(policy, nil, config.Sources{})
	if err != nil {
		return ""
	}
	option, _ := capture.ProxyUsers(defaults.IDs())
	return option
}

// settings returns the options for the pods of a policy in a namespace; nil if there are none.
func (c *configuration) settings(policy capture.Policy, namespace string) json.RawMessage {
	var options json.RawMessage
	if policy == c.policy() {
		options = c.options
	}
	users := c.usersIn(namespace)
	if users == nil {
		return options
	}
	option := userOption(policy)
	if option == "" {
		return options
	}
	values := make(map[string]any)
	// Whether these are options is found out when they are read without users.
	_ = json.Unmarshal(options, &values)
	values[option] = users
	// What has been read from JSON can be written.
	options, _ = json.Marshal(values)
	return options
}

// sccAnnotation says which of OpenShift's security context constraints admitted a pod. By most of
// them its users are of a range that its namespace has.
const sccAnnotation = "openshift.io/scc"

// checkUser returns an error if nobody knows as which user the proxy of a pod runs: no setting or
// annotation has said it.
func checkUser(policy capture.Policy, namespace string, annotations map[string]string, flags *config.Flags) error {
	scc, ok := annotations[sccAnnotation]
	if !ok {
		return nil
	}
	option := userOption(policy)
	if option == "" || flags.Given(option) != "" {
		return nil
	}
	return fmt.Errorf("annotation %s %q: the pod's users may be of a range that its namespace has, so nobody here knows as which user the proxy runs\n"+
		"hint: set %q: {%q: USER} in the plugin's entry, or %q among its %q if it is the same everywhere",
		sccAnnotation, scc, keyProxyUsers, cmp.Or(namespace, "NAMESPACE"), option, keyOptions)
}
