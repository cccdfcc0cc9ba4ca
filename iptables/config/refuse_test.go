package config

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// An option that is refused is so by every name, and takes what asks for nothing.
func TestRefuse(t *testing.T) {
	t.Parallel()
	const why = "is not for this"
	for text, want := range map[string]string{
		"--user=1":             `--user "1": ` + why,
		"--owner 1":            `--owner "1": ` + why,
		"-u 1":                 `--user "1": ` + why,
		"--drop":               `--drop "true": ` + why,
		"--drop=1 --user=2":    `--user "2": ` + why + "\n" + `--drop "1": ` + why,
		"--drop=false --user=": "",
		"":                     "",
		"env USER_OF_PROXY=1":  `environment variable USER_OF_PROXY "1": ` + why,
		"file user: 1":         `configuration file f, line 1, user "1": ` + why,
		"file drop: true":      `configuration file f, line 1, drop "true": ` + why,
		"file owner: nobody":   `configuration file f, line 1, owner "nobody": ` + why,
	} {
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		flags := NewFlags(fs, []Row{
			Refuse(Option{Name: "user", Reference: []string{"owner"}, Letter: "u", Env: []string{"USER_OF_PROXY"}}, why),
			RefuseSwitch(Option{Name: "drop"}, why),
		})
		content, isFile := strings.CutPrefix(text, "file ")
		variable, isVariable := strings.CutPrefix(text, "env ")
		var err error
		switch {
		case isFile:
			err = flags.AddFile("f", []byte(content))
		case isVariable:
			err = flags.Read(Sources{Env: []string{variable}}).Err()
		default:
			if err := fs.Parse(strings.Fields(text)); err != nil {
				t.Fatal(err)
			}
			err = flags.Read(Sources{}).Err()
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
