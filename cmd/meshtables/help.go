package main

import (
	"strings"

	"github.com/spf13/pflag"
)

// help returns what --help prints.
func help(set *pflag.FlagSet) string {
	return `meshtables makes the traffic of a network namespace pass through a sidecar proxy
by writing netfilter rules.

Usage:
  meshtables [options]                 apply; changes only what differs
  meshtables --dry-run [options]       print what iptables-save would print afterwards
  meshtables --cleanup-only            remove everything, whatever installed it

Exit status: 0 done or unchanged; 1 failed, nothing changed; 2 wrong option,
nothing touched; 126 connections did not arrive (--run-validation).

Options (istio-iptables' names and letters are accepted for them, and as
environment variables all names in capitals, with _ for -):
` + strings.TrimRight(set.FlagUsagesWrapped(100), "\n") + "\n"
}
