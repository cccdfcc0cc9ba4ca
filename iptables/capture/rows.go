package capture

import "github.com/meshtables/meshtables/iptables/config"

// The options that every policy has.

// IPv6Row is the option --ipv6. what says what it turns on, such as "capture IPv6".
func IPv6Row(target *IPv6, what string) config.Row {
	return config.Row{Option: config.Option{
		Name: "ipv6", Group: "all rules", Default: string(IPv6Auto),
		Usage: what + ": on, off, or auto (on if the namespace has a global IPv6 address)",
	}, Value: config.WithSynonyms(config.Choice("when", target, IPv6Auto, IPv6On, IPv6Off),
		map[string]string{"true": string(IPv6On), "false": string(IPv6Off)})}
}

// CommentsRow is the option --comments; see [iptables.Plan].
func CommentsRow(target *bool) config.Row {
	return config.Row{Option: config.Option{
		Name: "comments", Group: "all rules", Default: "false",
		Usage: "add to each rule a comment that names its option",
	}, Value: config.Bool(target)}
}
