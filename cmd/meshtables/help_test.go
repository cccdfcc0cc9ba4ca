package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A verb's help has its own options and those of every verb, and names those that say
// what is captured, each in a group.
func TestVerbHelp(t *testing.T) {
	t.Parallel()
	for _, v := range verbs() {
		if v.name == "" || v.usage == "" || v.print != nil {
			continue
		}
		text, err := printHelp([]string{v.name})
		if err != nil {
			t.Fatal(err)
		}
		line := newCommandLine(v, chosenDataplane(v, nil, nil, nil))
		for _, o := range line.flags.Options() {
			if !o.Hidden && !strings.Contains(text, "--"+o.Name) {
				t.Errorf("help %s has nothing about --%s", v.name, o.Name)
			}
		}
		if lines := strings.Count(text, "\n"); lines > 60 {
			t.Errorf("help %s has %d lines", v.name, lines)
		}
	}
	names, groups := captureGroups(newCommandLine(verbs()[0], choice{dataplane: ofSidecars}).flags)
	if slices.Contains(names, "") {
		t.Errorf("in no group: %q", groups[""])
	}
}

// Each shell takes its script, and completes by it.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for shell, test := range map[string]struct{ script, want string }{
		"bash": {`source /dev/stdin; COMP_WORDS=(meshtables verify --excluded-u); COMP_CWORD=2; _meshtables; echo "${COMPREPLY[@]}"
			COMP_WORDS=(meshtables ex); COMP_CWORD=1; _meshtables; echo "${COMPREPLY[@]}"`, "--excluded-uids\nexplain\n"},
		"zsh": {`words=(meshtables explain ""); compadd() { shift; print -l -- $@ | grep -x -e in -e --trace -e verify }
			compdef() { : }; eval "$(cat)"; _meshtables`, "in\n--trace\n"},
		"fish": {`source -; complete -C 'meshtables verify --excluded-u' | string split -f 1 \t; complete -C 'meshtables expl' | string split -f 1 \t`,
			"--excluded-uids\nexplain\n"},
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			text, err := printCompletion([]string{shell})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(shell, "-c", test.script)
			cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != test.want {
				t.Errorf("%v, got\n%s, want\n%s", err, out, test.want)
			}
		})
	}
	for _, words := range [][]string{nil, {"tcsh"}, {"bash", "zsh"}} {
		if _, err := printCompletion(words); err == nil {
			t.Errorf("%q: no error", words)
		}
	}
}
