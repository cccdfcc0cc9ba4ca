package capture

import (
	"encoding/json"
	"strings"

	"github.com/meshtables/meshtables/iptables/config"
)

// Overlay reads a policy's options from sources such as a pod's annotations, and what these
// leave open from arguments as [Wanted.Arguments] returns them. Warnings are those of
// [Options.Read].
func Overlay(p Policy, args []string, src config.Sources) (Wanted, []string, error) {
	options := p.Options()
	flags := config.WithoutArguments(options.Rows())
	settings := make(map[string]string)
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		settings[name] = value
	}
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, nil, err
	}
	if err := flags.AddSettings("options", text); err != nil {
		return nil, nil, err
	}
	return options.Read(flags, src)
}
