package config

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables"
)

// values are one of each kind.
func values() map[string]pflag.Value {
	known := func(name string) (uint32, error) {
		if name != "app" {
			return 0, errors.New("nobody has it")
		}
		return 1000, nil
	}
	return map[string]pflag.Value{
		"bool":       Bool(new(bool)),
		"text":       Text("word", new(string)),
		"file":       File("file", new(string)),
		"choice":     Choice("choice", new(string), "a", "b", "c"),
		"number":     Number(new(uint32)),
		"table":      RoutingTable(new(uint32)),
		"mark":       Mark(new(MaskedMark)),
		"port":       Port(new(uint16)),
		"address":    AddrPort(new(netip.AddrPort)),
		"ports":      Ports(new([]iptables.PortRange)),
		"all ports":  SelectedPorts(new(PortSelection)),
		"CIDRs":      CIDRs(new([]netip.Prefix)),
		"all CIDRs":  SelectedCIDRs(new(CIDRSelection)),
		"CIDR":       CIDRWithin(new(netip.Prefix), netip.MustParsePrefix("10.0.0.0/8")),
		"interfaces": Interfaces(new([]string)),
		"users":      UserIDs(new([]uint32), known),
		"groups":     GroupIDs(new([]uint32), known),
		"all groups": SelectedGroups(new(GroupSelection), known, 2),
	}
}

// Each kind of value prints what it has taken, and takes that again.
func TestValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, text, want string }{
		{"bool", "T", "true"},
		{"text", "any thing", "any thing"},
		{"file", "/etc/x", "/etc/x"},
		{"choice", "b", "b"},
		{"number", "0x539", "1337"},
		{"table", "256", "256"},
		{"mark", "1337/0xFFF", "0x539/0xfff"},
		{"mark", "0x539/0xffffffff", "0x539"},
		{"mark", "1337", "0x539"},
		{"port", "80", "80"},
		{"address", "127.0.0.1:80", "127.0.0.1:80"},
		{"address", ":80", "[::]:80"},
		{"address", "[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"interfaces", "docker*,br-+, tap0,docker+", "docker+,br-+,tap0"},
		{"ports", " 80, 90-99 ,80", "80,90:99"},
		{"ports", " ", ""},
		{"all ports", " * ", "*"},
		{"all ports", "1", "1"},
		{"CIDRs", "10.1.2.3/8,fd00::1", "10.0.0.0/8,fd00::1/128"},
		{"all CIDRs", "*", "*"},
		{"all CIDRs", "", ""},
		{"CIDR", "10.1.2.3", "10.1.2.3/32"},
		{"interfaces", "eth0,tap+", "eth0,tap+"},
		{"users", "app,0,1000", "1000,0"},
		{"groups", "4294967294", "4294967294"},
		{"all groups", "1,1,2", "1,2"},
	} {
		v := values()[test.kind]
		for _, text := range []string{test.text, test.want} {
			if err := v.Set(text); err != nil || v.String() != test.want {
				t.Errorf("%s of %q: %v, prints %q, want %q", test.kind, text, err, v, test.want)
			}
		}
	}
}

// A value that is refused changes nothing.
func TestRefusedValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, text, want string }{
		{"bool", "yes", "must be true or false"},
		{"file", "", "must not be empty: leave the option out"},
		{"choice", "d", "must be a, b or c"},
		{"number", "0", "must be a number from 1 to 4294967295, decimal or hexadecimal (0x539)"},
		{"table", "254", "must not be 253, 254 or 255: these are the system's routing tables"},
		{"mark", "0/0xff", "must be a mark such as 0x539, or 0x539/0xfff with a mask that has all its bits"},
		{"mark", "1/0", "must be a mark such as 0x539, or 0x539/0xfff with a mask that has all its bits"},
		{"mark", "0x539/0xff", "must be a mark such as 0x539, or 0x539/0xfff with a mask that has all its bits"},
		{"mark", "x", "must be a mark such as 0x539, or 0x539/0xfff with a mask that has all its bits"},
		{"port", "65536", "must be one port, from 1 to 65535"},
		{"address", "localhost:80", "must be an address and a port such as 127.0.0.1:8080, or a port such as :8080"},
		{"address", "[fe80::1%eth0]:80", "must be an address and a port such as 127.0.0.1:8080, or a port such as :8080"},
		{"address", "10.0.0.1:0", "must be an address and a port such as 127.0.0.1:8080, or a port such as :8080"},
		{"ports", "x,,*", `must be ports such as 80 or 8000-8010, separated by commas; "x" is not a port or a range of ports, "" is an empty item, "*" cannot be part of a list`},
		{"all ports", "0", `must be * or ports such as 80 or 8000-8010, separated by commas; "0" has port 0, which no connection has`},
		{"CIDR", "11.0.0.0/8", "must be an address or a CIDR within 10.0.0.0/8"},
		{"interfaces", "a/b", `must be names of interfaces such as eth1 or docker*, separated by commas; "a/b" has a character that is not allowed, "/"`},
		{"interfaces", "*,+,d*r,a**", `must be names of interfaces such as eth1 or docker*, separated by commas; "*" would match every interface, ` +
			`"+" would match every interface, "d*r" has a character that is not allowed, "*", "a**" has a character that is not allowed, "*"`},
		{"interfaces", "abcdefghijklmno*", `must be names of interfaces such as eth1 or docker*, separated by commas; "abcdefghijklmno*" is longer than 15 bytes`},
		{"users", "x", `must be users by name or number, separated by commas; "x" is not a known user: nobody has it`},
		{"groups", "4294967295", `must be groups by name or number, separated by commas; "4294967295" is more than 4294967294`},
		{"all groups", "1,2,3", "must be * or groups by name or number, separated by commas; the list has 3, but at most 2 are possible"},
		{"all groups", "", "must be * or groups by name or number, separated by commas; the list is empty"},
	} {
		v := values()[test.kind]
		before := v.String()
		if err := v.Set(test.text); err == nil || err.Error() != test.want {
			t.Errorf("%s of %q: %v, want %s", test.kind, test.text, err, test.want)
		}
		if v.String() != before {
			t.Errorf("%s of %q: is %q afterwards", test.kind, test.text, v)
		}
	}
}

// A policy has kinds of lists of its own.
func TestList(t *testing.T) {
	t.Parallel()
	var words []string
	v := List[string]{
		Target: &words, Kind: "words", Must: "short words",
		Parse: func(word string) (string, error) {
			if len(word) > 3 {
				return "", errors.New("is long")
			}
			return word, nil
		},
		Print: func(word string) string { return word },
		Check: func(all []string) error {
			if len(all) > 2 {
				return errors.New("there are too many")
			}
			return nil
		},
	}
	for text, want := range map[string]string{
		"a,b":     "",
		"a, a,a":  "",
		"a,b,c":   "must be short words, separated by commas; there are too many",
		"a,long,": `must be short words, separated by commas; "long" is long, "" is an empty item`,
	} {
		message := ""
		if err := v.Set(text); err != nil {
			message = err.Error()
		}
		if message != want {
			t.Errorf("%q: error %q, want %q", text, message, want)
		}
	}
}
