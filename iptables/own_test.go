package iptables

import (
	"net/netip"
	"slices"
	"testing"
)

// A namespace can hold what several policies make, and nothing that nobody claims.
func TestOwnershipOfSeveral(t *testing.T) {
	rs := parse(t, `*nat
:PREROUTING ACCEPT [0:0]
:MESH_A - [0:0]
:OTHER_B - [0:0]
:THEIRS - [0:0]
-A PREROUTING -j MESH_A
-A PREROUTING -j OTHER_B
-A PREROUTING -j THEIRS
COMMIT
`)
	for _, test := range []struct {
		own  Ownership
		want string
	}{
		{Ownership{}, ""},
		{Ownership{Chains: []string{"OTHER_"}}, "*nat\n:PREROUTING - [0:0]\n:OTHER_B - [0:0]\n-A PREROUTING -j OTHER_B\nCOMMIT\n"},
		{Ownership{Chains: []string{"OTHER_", "MESH_"}}, "*nat\n:PREROUTING - [0:0]\n:MESH_A - [0:0]\n:OTHER_B - [0:0]\n" +
			"-A PREROUTING -j MESH_A\n-A PREROUTING -j OTHER_B\nCOMMIT\n"},
	} {
		own := test.own.Of(rs)
		if got := own.Save(IPv4); got != test.want {
			t.Errorf("%v: got\n%s\nwant\n%s", test.own.Chains, got, test.want)
		}
	}
}

func TestIsReachable(t *testing.T) {
	own := Ownership{Addresses: []netip.Prefix{netip.MustParsePrefix("::6/128")}}
	for text, want := range map[string]bool{
		"10.244.1.7": true, "2001:db8::1": true, "::7": true,
		"::6": false, "::1": false, "127.0.0.6": false, "fe80::1": false, "169.254.1.1": false,
	} {
		if got := own.IsReachable(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %t, want %t", text, got, want)
		}
		prefix := netip.MustParsePrefix(text + "/8")
		for _, f := range Families() {
			is := want && f == FamilyOf(prefix.Addr())
			if got := own.Reachable(f, []netip.Prefix{prefix}); is != slices.Equal(got, []netip.Addr{prefix.Addr()}) || is == (len(got) == 0) {
				t.Errorf("%s: got the %s addresses %v", text, f, got)
			}
		}
	}
}

// A reference's comments on rules of ours say nothing; those of others stay.
func TestCommentsOfReference(t *testing.T) {
	rs := parse(t, `*nat
:OUTPUT ACCEPT [0:0]
:MESH_A - [0:0]
:THEIRS - [0:0]
-A OUTPUT -m comment --comment "mesh-init/out" -j MESH_A
-A MESH_A -o lo -m comment --comment "mesh-init/loopback" -j RETURN
-A MESH_A -p tcp -m comment --comment "of somebody else" -j RETURN
-A THEIRS -m comment --comment "mesh-init/not-ours" -j RETURN
COMMIT
`)
	own := Ownership{Chains: []string{"MESH_"}, Comments: []string{"mesh-init/"}}
	const want = `*nat
:OUTPUT ACCEPT [0:0]
:MESH_A - [0:0]
:THEIRS - [0:0]
-A OUTPUT -j MESH_A
-A MESH_A -o lo -j RETURN
-A MESH_A -p tcp -m comment --comment "of somebody else" -j RETURN
-A THEIRS -m comment --comment "mesh-init/not-ours" -j RETURN
COMMIT
`
	plain, read := own.Plain(rs), own.ReadComments(rs)
	if got := plain.Save(IPv4); got != want {
		t.Errorf("plain: got\n%s", got)
	}
	if got := read.Save(IPv4); got != want {
		t.Errorf("read: got\n%s", got)
	}
	chain := rs.Tables[0].Chain("MESH_A")
	for i, want := range []bool{true, false} {
		if got := own.IsAsWanted(chain.Rules[i], chain.Rules[i].Uncommented()); got != want {
			t.Errorf("%s: got %t", chain.Rules[i], got)
		}
	}
	if other := (Ownership{Chains: own.Chains}); other.IsAsWanted(chain.Rules[0], chain.Rules[0].Uncommented()) {
		t.Error("a comment that no reference makes is left out")
	}
}
