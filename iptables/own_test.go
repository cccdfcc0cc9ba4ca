package iptables

import "testing"

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
