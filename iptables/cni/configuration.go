package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/version"
	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/kernel"
)

// configuration is the plugin's entry in a conflist, with what the runtime adds for a call.
type configuration struct {
	policies capture.Policies
	// options are for the pods of mesh; those of others have the defaults of theirs. The
	// backend is for all.
	options json.RawMessage
	mesh    string
	backend string

	// proxyUsers are instead of those of options; the first that matches counts.
	proxyUsers        []namespaceUsers
	excludeNamespaces []string
	without           without
	sandboxed         Sandboxed
	logFile           string
	logLevel          slog.Level
	// dropIn is what the plugin leaves beside its program.
	dropIn string

	version  string
	previous json.RawMessage
	// declared says that the entry asks for annotations. They are nil if the runtime has none
	// to hand over; a pod without any has an empty map.
	declared    bool
	annotations map[string]string
}

// The keys of the configuration.
const (
	keyOptions    = "options"
	keyProxyUsers = "proxyUsers"
	keyExclude    = "excludeNamespaces"
	keyWithout    = "withoutAnnotations"
	keySandboxed  = "sandboxed"
	keyLogFile    = "logFile"
	keyLogLevel   = "logLevel"
	keyDropIn     = "dropIn"
)

// without is what to do if the runtime hands over no annotations.
type without string

const (
	withoutFail    without = "fail"
	withoutSkip    without = "skip"
	withoutCapture without = "capture"
)

// WithoutAnnotations returns the words for what to do then; the first is the default.
func WithoutAnnotations() []string {
	return []string{string(withoutFail), string(withoutSkip), string(withoutCapture)}
}

// AnnotationsCapability is the capability by which containerd (since 1.5) and CRI-O (since
// 1.28) hand over the pod's annotations.
const AnnotationsCapability = "io.kubernetes.cri.pod-annotations"

// reserved are the keys of the specification and of its library that an entry, or a runtime,
// may use (SPEC.md, "Plugin configuration objects"). So are those that begin with "cni.dev/".
var reserved = []string{"args", "capabilities", "cniVersion", "cniVersions", "name", "prevResult", "runtimeConfig", "type"}

// policy returns the one that the options are for: the first of the mesh.
func (c *configuration) policy() capture.Policy {
	at := slices.IndexFunc(c.policies, func(p capture.Policy) bool { return p.Mesh() == c.mesh })
	return c.policies[max(at, 0)]
}

// inOrder returns all policies, that of the options first: of pods that none captures it says
// why.
func (c *configuration) inOrder() capture.Policies {
	first := c.policy()
	others := slices.DeleteFunc(slices.Clone(c.policies), func(p capture.Policy) bool { return p == first })
	return slices.Insert(others, 0, first)
}

// meshes returns the names of all meshes, the default first.
func (c *configuration) meshes() []string {
	var names []string
	for _, p := range c.policies {
		if !slices.Contains(names, p.Mesh()) {
			names = append(names, p.Mesh())
		}
	}
	return names
}

// parse reads the configuration. The error has all errors, one a line. What could be read is
// returned with an error too: where to log it.
func parse(policies capture.Policies, text []byte) (configuration, error) {
	c := configuration{policies: policies, without: withoutFail, sandboxed: SandboxedFail, backend: kernel.Auto, mesh: policies[0].Mesh()}
	var errs []error
	var err error
	if c.version, err = new(version.ConfigDecoder).Decode(text); err != nil {
		errs = append(errs, err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(text, &keys); err != nil {
		return c, failed(codeConfiguration, err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := c.set(key, keys[key]); err != nil {
			errs = append(errs, err)
		}
	}
	if err := c.readMesh(); err != nil {
		errs = append(errs, err)
	} else if _, _, err := c.read(c.policy(), "", nil); err != nil {
		errs = append(errs, err)
	}
	return c, failed(codeConfiguration, errors.Join(errs...))
}

// set reads one key.
func (c *configuration) set(key string, value json.RawMessage) error {
	switch key {
	case keyOptions:
		c.options = value
		return nil
	case keyProxyUsers:
		return c.setProxyUsers(value)
	case keyExclude:
		return c.setExclude(value)
	case keyWithout:
		return setText(key, value, config.Choice("word", &c.without, withoutFail, withoutSkip, withoutCapture))
	case keySandboxed:
		return setText(key, value, config.Choice("word", &c.sandboxed, SandboxedFail, SandboxedSkip, SandboxedCapture))
	case keyLogFile:
		return c.setLogFile(value)
	case keyLogLevel:
		return c.setLogLevel(value)
	case keyDropIn:
		return wrong(key, value, json.Unmarshal(value, &c.dropIn), "a text")
	case "prevResult":
		c.previous = value
		return nil
	case "capabilities":
		var capabilities map[string]bool
		err := json.Unmarshal(value, &capabilities)
		c.declared = capabilities[AnnotationsCapability]
		return wrong(key, value, err, "an object of capabilities, each true or false")
	case "runtimeConfig":
		return c.setRuntimeConfig(value)
	}
	if slices.Contains(reserved, key) || strings.HasPrefix(key, "cni.dev/") {
		return nil
	}
	own := []string{keyExclude, keyLogFile, keyLogLevel, keyOptions, keyProxyUsers, keySandboxed, keyWithout}
	if near := config.Nearest(key, own); near != "" {
		return fmt.Errorf("%s: there is no such key; did you mean %s?", key, near)
	}
	return fmt.Errorf("%s: there is no such key; there are %s", key, strings.Join(own, ", "))
}

// wrong returns an error that says what a value must be, if err is not nil.
func wrong(key string, value json.RawMessage, err error, must string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: must be %s", key, value, must)
}

// setText reads a value that is a text.
func setText(key string, value json.RawMessage, to pflag.Value) error {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		text = string(value)
	}
	if err := to.Set(text); err != nil {
		return &config.ValueError{Source: key, Value: text, Err: err}
	}
	return nil
}

func (c *configuration) setExclude(value json.RawMessage) error {
	err := json.Unmarshal(value, &c.excludeNamespaces)
	if err == nil && slices.Contains(c.excludeNamespaces, "") {
		err = errors.New("an empty name")
	}
	return wrong(keyExclude, value, err, `a list of namespaces such as ["kube-system"]`)
}

func (c *configuration) setLogFile(value json.RawMessage) error {
	var name string
	err := json.Unmarshal(value, &name)
	if err == nil && !filepath.IsAbs(name) {
		err = errors.New("a relative path")
	}
	if err == nil {
		c.logFile = name
	}
	return wrong(keyLogFile, value, err, `the absolute path of a file, such as "/var/log/meshtables.log"`)
}

func (c *configuration) setLogLevel(value json.RawMessage) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	var level string
	if err := setText(keyLogLevel, value, config.Choice("level", &level, "debug", "info", "warn", "error")); err != nil {
		return err
	}
	c.logLevel = levels[level]
	return nil
}

// setRuntimeConfig takes the annotations. For a pod without any, containerd sends null.
func (c *configuration) setRuntimeConfig(value json.RawMessage) error {
	var all map[string]json.RawMessage
	err := json.Unmarshal(value, &all)
	if notes, ok := all[AnnotationsCapability]; ok && err == nil {
		c.annotations = make(map[string]string)
		err = json.Unmarshal(notes, &c.annotations)
		if c.annotations == nil {
			c.annotations = make(map[string]string)
		}
	}
	return wrong("runtimeConfig", value, err, "an object in which "+AnnotationsCapability+" is an object of texts")
}

// keyMesh is the option that says whose options they are.
const keyMesh = "mesh"

// readMesh reads which mesh the options are for.
func (c *configuration) readMesh() error {
	var options map[string]json.RawMessage
	// Whether these are options is found out when they are read.
	_ = json.Unmarshal(c.options, &options)
	if value, ok := options[keyMesh]; ok {
		return setText(keyOptions+"."+keyMesh, value, c.meshValue())
	}
	return nil
}

func (c *configuration) meshValue() pflag.Value { return config.Choice("name", &c.mesh, c.meshes()...) }

// read returns what the options and the annotations of a pod in a namespace of Kubernetes ask for,
// by a policy, and warnings. It sets the backend.
func (c *configuration) read(policy capture.Policy, namespace string, annotations map[string]string) (capture.Wanted, []string, error) {
	options := policy.Options()
	flags := config.WithoutArguments(options.Rows())
	flags.Register(config.Row{Option: config.Option{Name: "backend"}, Value: config.Choice("name", &c.backend, kernel.Names()...)})
	flags.Register(config.Row{Option: config.Option{Name: keyMesh}, Value: c.meshValue()})
	var errs []error
	if settings := c.settings(policy, namespace); settings != nil {
		errs = append(errs, flags.AddSettings(keyOptions, settings))
	}
	errs = append(errs, flags.Apply(nil))
	wanted, warnings, err := options.Read(flags, config.Sources{PodAnnotations: annotations, Users: config.PodUsers{}, NoNameServers: true})
	if err == nil {
		err = checkUser(policy, namespace, annotations, flags)
	}
	return wanted, warnings, errors.Join(append(errs, err)...)
}
