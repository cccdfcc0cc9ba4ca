package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

const annotationsOption = "annotations"

// addFile reads the configuration file, if one is named. Removing reads it too: it may
// name the backend or the namespace.
func (c *commandLine) addFile(env []string) error {
	// This is only for the file's name. Errors come again with the rest.
	_ = c.flags.Apply(env)
	if c.options.config == "" {
		return nil
	}
	text, err := c.readFile(config.FileOption, c.options.config)
	if err != nil {
		return err
	}
	return c.flags.AddFile(c.options.config, text)
}

// podUsers are the users of a pod, whose names are not known here.
type podUsers struct{}

func (podUsers) UserID(string) (uint32, error)  { return 0, errPodUser }
func (podUsers) GroupID(string) (uint32, error) { return 0, errPodUser }

var errPodUser = errors.New("with --cni-mode users and groups must be numbers, because names belong to the pod")

// readConfig reads what to capture.
func (c *commandLine) readConfig(o options, env []string, log *slog.Logger) (capture.Wanted, error) {
	src := config.Sources{Env: env, Users: host.Users{}}
	if o.cniMode {
		src.Users = podUsers{}
	}
	var unread error
	if o.annotations != "" {
		src.Annotations, unread = c.readFile(annotationsOption, o.annotations)
	}
	cfg, warnings, err := c.capture.Read(c.flags, src)
	if err := errors.Join(unread, err); err != nil {
		return cfg, err
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	return cfg, nil
}

// asksForCapture reports whether any option says what to capture, even if it gives the
// default.
func (c *command) asksForCapture() bool {
	for _, o := range c.line.flags.Policy() {
		if c.line.set.Changed(o.Name) || slices.ContainsFunc(o.Variables(), c.isGiven) {
			return true
		}
	}
	return c.config != "" || c.annotations != ""
}

// isGiven reports whether a variable is set. Kubernetes sets some that only look like
// options, to addresses of services.
func (c *command) isGiven(variable string) bool {
	value := c.variable(variable)
	return value != "" && !strings.Contains(value, "://")
}

// readFile reads the file that an option names. The error names the source of the
// option.
func (c *commandLine) readFile(option, file string) ([]byte, error) {
	text, err := c.files.read(file)
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("%s: %w", c.flags.Given(option), path.Err)
	}
	return text, err
}

// files are what was read in this run, by name. A file is read once, however often it
// matters: a second time, a pipe such as /dev/stdin is empty.
type files map[string]fileRead

type fileRead struct {
	text []byte
	err  error
}

func (f files) read(name string) ([]byte, error) {
	r, ok := f[name]
	if !ok {
		r.text, r.err = os.ReadFile(name)
		f[name] = r
	}
	return r.text, r.err
}
