package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/tests/lab"
)

// inWords are the words in the commands of a row that stand for something of a family.
func inWords(f lab.Family) *strings.Replacer {
	any, ip := "0.0.0.0/0", "ip"
	if f == lab.IPv6 {
		any, ip = "::/0", "ip6"
	}
	return strings.NewReplacer(
		"OUTSIDE", lab.Outside.In(f).String(), "OTHER", lab.OtherOutside.In(f).String(), "RESOLVER", lab.Resolver.In(f).String(),
		"POD", lab.PodAddr.In(f).String(), "PEER", lab.PeerAddr.In(f).String(), "LOOPBACK", lab.Loopback.In(f).String(),
		"ANY", any, "IP ", ip+" ",
	)
}

// expand makes a shell's commands of those of a row. One that begins with "ipt" is by the
// backend's program, one with "legacy" by iptables-legacy, both for each family, as those
// with "ip" are.
func expand(commands, backend string) string {
	var b strings.Builder
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		for _, f := range lab.Families() {
			family := iptables.FamilyOf(lab.PodAddr.In(f))
			program := map[string]string{
				"ipt": commandOf(backend, family), "legacy": commandOf("iptables-legacy", family), "ip": "ip -" + family.String()[3:],
				"ipt" + family.String()[3:]: commandOf(backend, family),
			}[word]
			switch {
			case word == "ipt4" || word == "ipt6":
				if program == "" {
					continue
				}
			case program == "":
				b.WriteString(line + "\n")
			}
			if program == "" {
				break
			}
			b.WriteString(program + " " + inWords(f).Replace(rest) + "\n")
		}
	}
	return b.String()
}

// expandNFT makes text for nft: a line with a word of [inWords] is there for each family, and
// so is all of a table of "IP".
func expandNFT(text string) string {
	if strings.Contains(text, "table IP ") {
		return inWords(lab.IPv4).Replace(text) + "\n" + inWords(lab.IPv6).Replace(text)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		v4, v6 := inWords(lab.IPv4).Replace(line), inWords(lab.IPv6).Replace(line)
		b.WriteString(v4)
		if v4 != v6 {
			b.WriteString(v6)
		}
	}
	return b.String()
}

// shell runs commands by a shell in the pod, which all have to succeed.
func (s *scene) shell(t *testing.T, commands, nft string) {
	t.Helper()
	if err := s.try(t, commands, nft); err != nil {
		t.Fatal(err)
	}
}

// try runs commands until one fails.
func (s *scene) try(t *testing.T, commands, nft string) error {
	t.Helper()
	if nft != "" {
		commands += "nft -f - <<'END'\n" + nft + "\nEND\n"
	}
	if strings.TrimSpace(commands) == "" {
		return nil
	}
	var out bytes.Buffer
	err := s.Pod.Run(t.Context(), lab.Command{Path: "sh", Args: []string{"-ec", commands}, Stdout: &out, Stderr: &out})
	// A program that another test was starting meanwhile can hold the output open.
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%w\n%s\n%s", err, commands, &out)
	}
	return nil
}

// noLegacyRules empties the tables of iptables-legacy.
const noLegacyRules = `
	for program in iptables-legacy-restore ip6tables-legacy-restore; do
		$program <<'END'
*raw
:PREROUTING ACCEPT
:OUTPUT ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT
:INPUT ACCEPT
:OUTPUT ACCEPT
:POSTROUTING ACCEPT
COMMIT
*filter
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
COMMIT
*security
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
COMMIT
END
	done
`

// tidy removes everything that a row made.
func (s *scene) tidy(t *testing.T, h *harm) {
	t.Helper()
	s.shell(t, expand(h.undo, s.backend), "")
	cleanup(t, s.pod)
	commands := "nft flush ruleset\n"
	if s.backend == "iptables-legacy" {
		commands += noLegacyRules
	}
	s.shell(t, commands, "")
}
