package gvisor

import "testing"

func TestIs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		release, version string
		want             bool
	}{
		{"4.4.0", "#1 SMP Sun Jan 10 15:06:54 PST 2016", true},
		{"4.19.0-gvisor", "#1 SMP Sun Jan 10 15:06:54 PST 2016", true},
		{"5.15.0-gvisor", "#1 SMP", true},
		{"4.4.0", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.148-1 (2025-08-26)", false},
		{"6.1.0-40-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.148-1 (2025-08-26)", false},
	} {
		if got := is(test.release, test.version); got != test.want {
			t.Errorf("%s %s: %t", test.release, test.version, got)
		}
	}
}
