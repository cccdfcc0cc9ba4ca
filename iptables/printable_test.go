package iptables

import "testing"

func TestPrintable(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"node (v18)": "node (v18)", "a\x1b[1m\nb": "a?[1m?b", `"x\`: "?x?", "caf\xc3\xa9\xff": "caf??", "": "",
	} {
		if got := Printable(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
