package capture

import (
	"io"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/config"
)

// Parse undoes [Wanted.Arguments]: it reads a policy's options from arguments, and from
// nothing else. The error has all errors; see [errors.Join].
func Parse(p Policy, args []string) (Wanted, error) {
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SetOutput(io.Discard)
	options := p.Options()
	flags := config.NewFlags(set, options.Rows())
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	wanted, _, err := options.Read(flags, config.Sources{})
	if err != nil {
		return nil, err
	}
	return wanted, nil
}
