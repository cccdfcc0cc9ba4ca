package ambient

import (
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/config"
)

// Why options of sidecars are refused.
const (
	noOwners = "has no meaning in ambient mode: rules know the proxy by its mark (--proxy-mark), and nobody by user or group"
	noTProxy = "has no meaning in ambient mode: connections get to the proxy by REDIRECT"
	isFixed  = "has no meaning in ambient mode: the pod itself is 127.0.0.1"
	isAll    = "has no meaning in ambient mode: --redirect-dns captures queries to any server"
	noDrop   = "has no meaning in ambient mode: its rules drop nothing"
)

// refusedRows are options that ask for what this policy cannot do.
func refusedRows() []config.Row {
	return []config.Row{
		config.Refuse(config.Option{Name: "proxy-uid", Shared: true, Letter: "u"}, noOwners),
		config.Refuse(config.Option{Name: "proxy-gid", Shared: true, Letter: "g"}, noOwners),
		config.Refuse(config.Option{Name: "excluded-uids", Annotations: []string{capture.ExcludedUIDs}}, noOwners),
		config.Refuse(config.Option{Name: "included-groups", Env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS"}}, noOwners),
		config.Refuse(config.Option{Name: "excluded-groups", Env: []string{"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"}}, noOwners),
		config.Refuse(config.Option{Name: "mode", Reference: []string{"istio-inbound-interception-mode"}, Letter: "m"}, noTProxy),
		config.Refuse(config.Option{Name: "tproxy-mark", Reference: []string{"istio-inbound-tproxy-mark"}, Letter: "t"}, noTProxy),
		config.Refuse(config.Option{Name: "tproxy-table", Reference: []string{"istio-inbound-tproxy-route-table"}, Letter: "r"}, noTProxy),
		config.Refuse(config.Option{Name: "loopback-cidr", Env: []string{"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"}}, isFixed),
		config.RefuseSwitch(config.Option{Name: "capture-all-dns", Shared: true}, isAll),
		config.RefuseSwitch(config.Option{Name: "drop-invalid", Shared: true, Env: []string{"INVALID_DROP"}}, noDrop),
	}
}
