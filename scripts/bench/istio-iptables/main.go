// Istio-iptables is Istio's program of that name. make bench measures it beside
// meshtables. Istio ships it as a subcommand of pilot-agent.
package main

import (
	"os"

	"istio.io/istio/pkg/log"
	"istio.io/istio/tools/istio-iptables/pkg/cmd"
)

func main() {
	if err := cmd.GetCommand(log.DefaultOptions()).Execute(); err != nil {
		os.Exit(1)
	}
}
