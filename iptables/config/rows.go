package config

import (
	"fmt"
	"slices"
)

// What a policy does with its rows when there are no flags.

// SetDefaults sets each option to its default.
func SetDefaults(rows []Row) {
	for _, row := range rows {
		// A default that is not a valid value of its option fails the tests.
		_ = row.Value.Set(row.Default)
	}
}

// Arguments returns the arguments that give the options their values, in the order of the
// rows. A hidden option is another name for a shown one, or has no value.
func Arguments(rows []Row) []string {
	var args []string
	for _, row := range rows {
		if !row.Hidden {
			args = append(args, "--"+row.Name+"="+row.Value.String())
		}
	}
	return args
}

// Without returns the arguments that are not among others, such as those of the defaults.
func Without(args, others []string) []string {
	return slices.DeleteFunc(args, func(arg string) bool { return slices.Contains(others, arg) })
}

// SetOption sets an option, by its name without dashes, to a value as Arguments prints it.
func SetOption(rows []Row, name, value string) error {
	at := slices.IndexFunc(rows, func(r Row) bool { return r.Name == name })
	if at < 0 {
		return fmt.Errorf("there is no option --%s", name)
	}
	return rows[at].Value.Set(value)
}
