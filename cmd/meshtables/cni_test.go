package main

import (
	"strings"
	"testing"
)

// --mode is the option that its value belongs to.
func TestInstallModeByShortName(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"install --mode own":                            "install --install-mode own",
		"install --mode=drop-in":                        "install --install-mode=drop-in",
		"--mode=entry install":                          "--install-mode=entry install",
		"install --mode=TPROXY --mode own":              "install --mode=TPROXY --install-mode own",
		"install --mode REDIRECT own":                   "install --mode REDIRECT own",
		"install --install-mode=own --plugin-folder=--": "install --install-mode=own --plugin-folder=--",
		"install -- --mode=own":                         "install -- --mode=own",
		"install --mode":                                "install --mode",
	} {
		if got := strings.Join(nameInstallMode(strings.Fields(given)), " "); got != want {
			t.Errorf("%s: got %s", given, got)
		}
	}
}
