package host

import "testing"

func TestVersion(t *testing.T) {
	limit := Version{6, 7}
	tests := []struct {
		release string
		want    string
		before  bool
	}{
		{"5.10.0-35-cloud-amd64", "5.10", true},
		{"6.1.0-40-amd64", "6.1", true},
		{"6.6", "6.6", true},
		{"6.7.0-rc1", "6.7", false},
		{"6.12.48+deb13-amd64", "6.12", false},
		{"7.0", "7.0", false},
		{"unknown", "0.0", false},
		{"6", "0.0", false},
	}
	for _, test := range tests {
		v := parseVersion(test.release)
		if v.String() != test.want || v.IsBefore(limit) != test.before {
			t.Errorf("%s: got %s, before %s: %t", test.release, v, limit, v.IsBefore(limit))
		}
	}
	if KernelVersion() == (Version{}) {
		t.Error("the running kernel has no version")
	}
}
