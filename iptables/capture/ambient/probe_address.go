package ambient

import (
	"errors"
	"net/netip"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/config"
)

// ProbeAddresses are the addresses from which the node's health probes come, one of each
// family. The agent gives it to what the node itself sends to a pod.
type ProbeAddresses struct{ IPv4, IPv6 netip.Addr }

// defaultProbes are constants of the reference: a link-local address, and a unique local
// one.
func defaultProbes() ProbeAddresses {
	return ProbeAddresses{netip.MustParseAddr("169.254.7.127"), netip.MustParseAddr("fd16:9254:7127:1337:ffff:ffff:ffff:ffff")}
}

// Of returns the address of a family.
func (p ProbeAddresses) Of(f iptables.Family) netip.Addr {
	if f == iptables.IPv6 {
		return p.IPv6
	}
	return p.IPv4
}

// String returns both addresses, as --host-probe-address takes them.
func (p ProbeAddresses) String() string { return p.IPv4.String() + "," + p.IPv6.String() }

// Set replaces the address of a family.
func (p *ProbeAddresses) Set(a netip.Addr) {
	if iptables.FamilyOf(a) == iptables.IPv6 {
		p.IPv6 = a
		return
	}
	p.IPv4 = a
}

// HostProbeRow is the option for these addresses, which a pod's rules and its node's have to
// have in common.
func HostProbeRow(target *ProbeAddresses) config.Row {
	return config.Row{Option: config.Option{
		Name: "host-probe-address", Group: "inbound", Default: defaultProbes().String(),
		Usage: "address from which the node's health probes come, which are left alone, or one of each family",
	}, Value: probeValue{target}}
}

// probeValue is an address, or one of each family. A family that is not named has its
// default.
type probeValue struct{ target *ProbeAddresses }

func (v probeValue) Set(text string) error {
	var given []netip.Addr
	if err := addressList(&given).Set(text); err != nil {
		return err
	}
	*v.target = defaultProbes()
	for _, a := range given {
		v.target.Set(a)
	}
	return nil
}

func (v probeValue) String() string { return v.target.String() }

func (v probeValue) Type() string { return "addresses" }

func addressList(target *[]netip.Addr) config.List[netip.Addr] {
	return config.List[netip.Addr]{
		Target: target,
		Kind:   "addresses",
		Must:   "an address, or one of each family",
		Parse:  parseProbe,
		Print:  netip.Addr.String,
		Check: func(all []netip.Addr) error {
			switch {
			case len(all) == 0:
				return errors.New("the list is empty")
			case len(all) > 2 || len(all) == 2 && iptables.FamilyOf(all[0]) == iptables.FamilyOf(all[1]):
				return errors.New("the list has several of one family")
			}
			return nil
		},
	}
}

func parseProbe(word string) (netip.Addr, error) { return config.ParseHost(word, "the node") }
