package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/meshtables/meshtables/iptables/config"
	"github.com/meshtables/meshtables/iptables/host"
)

const annotationsOption = "annotations"

// addFile reads the configuration file, if one is named. Cleaning up needs none: it
// has to be possible where the file is gone or wrong.
func (c *commandLine) addFile(env []string) error {
	// Only the file's name is wanted of it; errors come again with the rest.
	_ = c.flags.Apply(env)
	switch {
	case c.options.config == "":
		return nil
	case c.options.cleanupOnly:
		c.unread = c.flags.Given(config.FileOption)
		return nil
	}
	text, err := c.readFile(config.FileOption, c.options.config)
	if err != nil {
		return err
	}
	return c.flags.AddFile(c.options.config, text)
}

// readConfig reads what is to be captured.
func (c *commandLine) readConfig(o options, env []string, log *slog.Logger) (config.Config, error) {
	src := config.Sources{Env: env, Users: host.Users{}}
	if o.cniMode {
		src.Users = nil
	}
	if o.annotations != "" {
		var err error
		if src.Annotations, err = c.readFile(annotationsOption, o.annotations); err != nil {
			return config.Config{}, err
		}
	}
	cfg, warnings, err := c.flags.Config(src)
	if err != nil {
		return cfg, err
	}
	for _, w := range warnings {
		log.Warn(w)
	}
	return cfg, nil
}

// readFile reads the file that an option names. The error names the source of the
// option.
func (c *commandLine) readFile(option, file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	var path *fs.PathError
	if errors.As(err, &path) {
		return nil, fmt.Errorf("%s: %w", c.flags.Given(option), path.Err)
	}
	return text, err
}
