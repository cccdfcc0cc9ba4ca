package host

import (
	"os"
	"testing"
)

func TestIDMap(t *testing.T) {
	t.Parallel()
	m, err := parseIDMap("         0     100000       1000\n      2000          0          1\n")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint32]bool{0: true, 999: true, 1000: false, 1999: false, 2000: true, 2001: false, 100000: false} {
		if m.Has(id) != want {
			t.Errorf("%d: want %v", id, want)
		}
	}
	for outside, want := range map[uint32]uint32{100000: 0, 100999: 999, 0: 2000} {
		if id, ok := m.Inside(outside); !ok || id != want {
			t.Errorf("%d is %d inside, %t, want %d", outside, id, ok, want)
		}
	}
	for _, outside := range []uint32{1, 99999, 101000} {
		if id, ok := m.Inside(outside); ok {
			t.Errorf("%d is %d inside", outside, id)
		}
	}
	for _, text := range []string{"0 0\n", "0 0 x\n", "0 x 1\n", "-1 0 1\n", "0 0 4294967296\n"} {
		if _, err := parseIDMap(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Whoever runs this exists in its own user namespace.
func TestReadIDMap(t *testing.T) {
	t.Parallel()
	m, err := readIDMap("/proc/self/uid_map")
	if err != nil || !m.Has(uint32(os.Getuid())) {
		t.Errorf("got %v, %v", m, err)
	}
	if _, err := readIDMap("/proc/0/uid_map"); err == nil {
		t.Error("there is a process 0")
	}
}
