// Package kernels is the table of kernels in which the program is tested, with the
// expected results. "make kernels" boots them.
package kernels

import (
	"fmt"
	"os"
	"slices"
)

// Kernel is a row of the table.
type Kernel struct {
	Name string
	// Suite is the Debian release whose kernel for virtual machines it is.
	Suite string
	// Version is what uname -r begins with.
	Version string
	// Without are patterns of modules to leave out.
	Without []string
	// CommandLine is added to the kernel's command line.
	CommandLine string

	// Auto is the backend that --backend=auto takes. Because is the reason that it
	// prints, for taking it or for not taking an earlier one.
	Auto, Because string
	// Backends are those that work.
	Backends []string
	// Refused are the other backends, with words of their errors.
	Refused map[string]string
	// NoIPv6 says that there is no IPv6.
	NoIPv6 bool
	// PortsClash says that redirected connections with the same source port time out unless
	// net.ipv4.tcp_early_demux is off.
	PortsClash bool
	// NoTCX says that BPF programs cannot be attached to interfaces by TCX.
	NoTCX bool
}

// xtables are the modules of xtables, for its own tables and for nf_tables.
func xtables() []string {
	return []string{"nft_compat", "x_tables", "xt_*", "ip_tables", "ip6_tables", "iptable_*", "ip6table_*", "ipt_*", "ip6t_*", "arp*", "ebt*"}
}

// nfTables are the modules of nf_tables.
func nfTables() []string { return []string{"nf_tables", "nft_*"} }

// All returns the table.
func All() []Kernel {
	const (
		both  = "the kernel has nf_tables and the xtables extensions for it"
		alone = "the kernel has nf_tables, and this form needs no xtables extensions"
	)
	all := []string{"iptables-nft", "nftables", "iptables-legacy", "iptables"}
	withoutXtables := map[string]string{
		"iptables-nft":    "hint: load the modules nft_compat and xt_conntrack, or use --backend=nftables",
		"iptables-legacy": "hint: load its module (such as iptable_raw or ip6table_raw), or use --backend=iptables-nft or --backend=nftables",
		"iptables":        "hint: load the modules nft_compat and xt_tcpudp, or use --backend=nftables",
	}
	return []Kernel{
		{Name: "5.10", Suite: "bullseye", Version: "5.10.", Auto: "iptables-nft", Because: both, Backends: all, PortsClash: true, NoTCX: true},
		{Name: "6.1", Suite: "bookworm", Version: "6.1.", Auto: "iptables-nft", Because: both, Backends: all, PortsClash: true, NoTCX: true},
		{Name: "6.12", Suite: "trixie", Version: "6.12.", Auto: "iptables-nft", Because: both, Backends: all},
		{
			Name: "5.10 without xtables", Suite: "bullseye", Version: "5.10.", Without: xtables(),
			Auto: "nftables", Because: alone, Backends: []string{"nftables"}, Refused: withoutXtables, PortsClash: true, NoTCX: true,
		},
		{
			Name: "6.12 without xtables", Suite: "trixie", Version: "6.12.", Without: xtables(),
			Auto: "nftables", Because: alone, Backends: []string{"nftables"}, Refused: withoutXtables,
		},
		{
			Name: "6.1 without nf_tables", Suite: "bookworm", Version: "6.1.", Without: nfTables(),
			Auto: "iptables-legacy", Because: "the first usable one", Backends: []string{"iptables-legacy"},
			Refused: map[string]string{"iptables-nft": "nf_tables", "nftables": "nf_tables"}, PortsClash: true, NoTCX: true,
		},
		{
			Name: "6.1 without IPv6", Suite: "bookworm", Version: "6.1.", CommandLine: "ipv6.disable=1",
			Auto: "iptables-nft", Because: both, Backends: all, NoIPv6: true, PortsClash: true, NoTCX: true,
		},
	}
}

// Variable is the environment variable that names the row of the tests' kernel.
const Variable = "MESHTABLES_KERNEL"

// Current returns the row of the running kernel. Without the variable, this is a test
// machine whose kernel has everything.
func Current() (Kernel, error) {
	all, name := All(), os.Getenv(Variable)
	if name == "" {
		everything := all[slices.IndexFunc(all, func(k Kernel) bool { return k.Name == "6.12" })]
		everything.Version = ""
		return everything, nil
	}
	i := slices.IndexFunc(all, func(k Kernel) bool { return k.Name == name })
	if i < 0 {
		return Kernel{}, fmt.Errorf("%s=%s: there is no such kernel in the table", Variable, name)
	}
	return all[i], nil
}
