package iptables

import (
	"slices"
	"testing"
)

func TestNewSet(t *testing.T) {
	ports := func(first, last uint16) Interval { return PortInterval(PortRange{first, last}) }
	names := func(name string) Interval { return InterfaceInterval(name) }
	for name, test := range map[string]struct {
		field    SetField
		in, want []Interval
	}{
		"apart":            {DestinationPort, []Interval{ports(9, 9), ports(1, 7)}, []Interval{ports(1, 7), ports(9, 9)}},
		"touching":         {DestinationPort, []Interval{ports(8, 9), ports(1, 7)}, []Interval{ports(1, 9)}},
		"within":           {DestinationPort, []Interval{ports(2, 3), ports(1, 7), ports(8, 8)}, []Interval{ports(1, 8)}},
		"first and last":   {DestinationPort, []Interval{ports(65535, 65535), ports(0, 0)}, []Interval{ports(0, 0), ports(65535, 65535)}},
		"all":              {DestinationPort, []Interval{ports(1, 65535), ports(0, 65535)}, []Interval{ports(0, 65535)}},
		"touching names":   {OutInterface, []Interval{names("veth1+"), names("veth0+")}, []Interval{names("veth0+"), names("veth1+")}},
		"a name within":    {InInterface, []Interval{names("veth0a"), names("veth0+")}, []Interval{names("veth0+")}},
		"a name by itself": {InInterface, []Interval{names("veth1"), names("veth0+")}, []Interval{names("veth0+"), names("veth1")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NewSet(test.field, false, test.in).Elements; !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
