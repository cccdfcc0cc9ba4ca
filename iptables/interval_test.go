package iptables

import (
	"net/netip"
	"slices"
	"testing"
)

func TestNextValue(t *testing.T) {
	for v, want := range map[Value]Value{"\x00\x00": "\x00\x01", "\x00\xff": "\x01\x00", "a\xff\xff": "b\x00\x00"} {
		if got, ok := v.Next(); !ok || got != want {
			t.Errorf("after %q comes %q (%v), want %q", v, got, ok, want)
		}
	}
	if got, ok := Value("\xff\xff").Next(); ok {
		t.Errorf("after the greatest value comes %q", got)
	}
}

func TestIntervalOfInterfaces(t *testing.T) {
	t.Parallel()
	between := func(first, last string) Interval {
		return Interval{InterfaceInterval(first).First, InterfaceInterval(last).Last}
	}
	for _, test := range []struct {
		in   Interval
		want []string
	}{
		{between("lo", "lo"), []string{"lo"}},
		{between("veth+", "veth+"), []string{"veth+"}},
		{between("veth0+", "veth2+"), []string{"veth0+", "veth1+", "veth2+"}},
		{between("veth0+", "veth1"), []string{"veth0+", "veth1"}},
		{between("+", "+"), []string{"+"}},
	} {
		var want []Interval
		for _, name := range test.want {
			want = append(want, InterfaceInterval(name))
		}
		if got := test.in.Interfaces(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if none := between("lo", "lo1"); !slices.Equal(none.Interfaces(), []Interval{none}) {
		t.Errorf("got %q, want all of %q", none.Interfaces(), none)
	}
}

func TestPrefixOfInterval(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.2.0/23", "10.1.2.3/32", "::/0", "fc00::/7", "2001:db8::/61", "::1/128"} {
		want := netip.MustParsePrefix(text)
		if got, ok := PrefixInterval(want).Prefix(); !ok || got != want {
			t.Errorf("got %s (%v), want %s", got, ok, want)
		}
	}
	for first, last := range map[string]string{
		"10.0.0.0": "10.0.0.2", "10.0.0.1": "10.0.0.2", "10.0.1.0": "10.0.2.255", "10.0.0.128": "10.0.1.255", "::": "::fffe", "::2": "::4",
	} {
		i := Interval{Value(netip.MustParseAddr(first).AsSlice()), Value(netip.MustParseAddr(last).AsSlice())}
		if got, ok := i.Prefix(); ok {
			t.Errorf("%s to %s is %s", first, last, got)
		}
	}
}
