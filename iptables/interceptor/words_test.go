package interceptor

import (
	"strings"
	"testing"
)

// named returns a program at a hook, described.
func named(name, hook string) Program {
	p := hookNamed(hook).program(7)
	p.Name = name
	p.describe()
	return p
}

// Software is known by names of which the kernel has kept 15 characters, and what to do about it
// depends on what the program may do.
func TestDescribe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, hook, who, hint string }{
		{"cil_sock4_conne", "connect4", "Cilium", "with socketLB.hostNamespaceOnly=true"},
		{"cil_from_contai", "tc ingress", "Cilium", "to see whose it is: bpftool prog show id 7"},
		{"calico_connect_", "connect4", "Calico", "set bpfConnectTimeLoadBalancing"},
		{"cali_ctlb_v4", "connect4", "Calico", "set bpfConnectTimeLoadBalancing"},
		{"mb_sock4_connec", "connect4", "Merbridge", "Merbridge captures"},
		{"mb_tc_ingress", "tc ingress", "Merbridge", "Merbridge captures"},
		{"sd_fw_egress", "egress", "systemd", "see IPAddressAllow="},
		{"sock4_connect", "connect4", "", "to see whose it is: bpftool prog show id 7"},
		{"", "connect4", "", "to see whose it is: bpftool prog show id 7"},
	} {
		p := named(test.name, test.hook)
		if p.Software != test.who || !strings.HasPrefix(p.Hint, test.hint) {
			t.Errorf("%q at %s: %q, %q", test.name, test.hook, p.Software, p.Hint)
		}
		if who, _, _ := strings.Cut(p.Text, " may "); who != test.who && (test.who != "" || who != "another program") {
			t.Errorf("%q at %s: %q", test.name, test.hook, p.Text)
		}
	}
}

// Programs that may do the same at the same stage share a line, of which there are as many as one
// can read.
func TestGroups(t *testing.T) {
	t.Parallel()
	programs := []Program{named("cil_a", "connect4"), named("other", "connect4"), named("cil_b", "sendmsg6"), named("cil_c", "egress"), named("cil_d", "ingress")}
	for range 20 {
		p := named("many", "tc egress")
		p.Interface = "eth0"
		programs = append(programs, p)
	}
	var got []string
	for _, g := range Groups(programs) {
		got = append(got, g.String())
	}
	many := strings.Repeat("7 many (tc egress on eth0), ", 8)
	want := []string{
		"Cilium may rewrite the destination before the rules see it: BPF programs 7 cil_a (connect4), 7 cil_b (sendmsg6)",
		"another program may rewrite the destination before the rules see it: BPF program 7 other (connect4)",
		"Cilium may drop packets after the rules: BPF program 7 cil_c (egress)",
		"Cilium may drop packets after the rules: BPF program 7 cil_d (ingress)",
		"another program may redirect, change or drop packets after the rules: BPF programs " + strings.TrimSuffix(many, ", ") + " and 12 more",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A mount shows the cgroups below its root.
func TestWithin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ root, cgroup, want string }{
		{"/", "/", "/"}, {"/", "/kubepods/pod7", "/kubepods/pod7"}, {"/kubepods", "/kubepods/pod7", "/pod7"},
		{"/kubepods", "/kubepods", "/"}, {"/kubepods", "/kubepods2/pod7", ""}, {"/kubepods", "/", ""},
		{"/..", "/", ""}, {"/..", "/../pod7", "/pod7"}, {"/", "/../pod7", ""}, {"/..", "/../../pod7", ""},
	} {
		m := mount{root: test.root}
		if got, ok := m.within(test.cgroup); got != test.want || ok != (test.want != "") {
			t.Errorf("%s below %s: got %q, %v, want %q", test.cgroup, test.root, got, ok, test.want)
		}
	}
}
