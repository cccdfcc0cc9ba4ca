package ipset

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

const name = "meshtables-test"

// many returns more addresses than fit two messages.
func many(f iptables.Family) []netip.Addr {
	all := make([]netip.Addr, 2*perMessage+7)
	for i := range all {
		b := f.Unspecified().AsSlice()
		b[0] = 10
		binary.BigEndian.PutUint16(b[len(b)-2:], uint16(i+1))
		all[i], _ = netip.AddrFromSlice(b)
	}
	return all
}

// Sets of thousands are made, changed and removed. What is so already is no error.
func TestChange(t *testing.T) {
	t.Parallel()
	for _, f := range iptables.Families() {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			nstest.Enter(t)
			ns, all := nstest.Here(t), many(f)
			change := Change{Family: f, Name: name, Make: true, Add: all}
			if err := Before(t.Context(), ns, []Change{change}); err != nil {
				t.Fatal(err)
			}
			change = Change{Family: f, Name: name, Add: all[:3], Del: slices.Concat(all[5:], all[5:6])}
			if err := errors.Join(Before(t.Context(), ns, []Change{change}), After(t.Context(), ns, []Change{change})); err != nil {
				t.Fatal(err)
			}
			state, err := Read(t.Context(), ns, []string{name})
			if got := state[name]; err != nil || got.Family != f || !got.Ours || !slices.Equal(got.Addresses, all[:5]) {
				t.Errorf("got %v, %v", got, err)
			}
			change = Change{Family: f, Name: name, Drop: true}
			for range 2 {
				if err := After(t.Context(), ns, []Change{change}); err != nil {
					t.Error(err)
				}
			}
			if state, err := Read(t.Context(), ns, []string{name}); err != nil || len(state) != 0 {
				t.Errorf("after the removal: got %v, %v", state, err)
			}
		})
	}
}

// An error says what the kernel refuses, and which address.
func TestRefused(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns, all := nstest.Here(t), many(iptables.IPv4)
	nstest.Run(t, "ipset", "create", name, "hash:ip")
	nstest.Run(t, "ipset", "create", "small", "hash:ip", "maxelem", "1500")
	for _, test := range []struct {
		change Change
		is     error
		want   string
	}{
		{Change{Name: name, Make: true}, unix.EEXIST, "failed to make the set meshtables-test: file exists"},
		{Change{Name: name, Add: []netip.Addr{all[0], netip.IPv6Loopback()}}, errProtocol, "failed to add ::1 to the set meshtables-test: the set does not take it, .*"},
		{Change{Name: "small", Add: all}, errHashFull, `failed to add 10\.0\.\d+\.\d+ to the set small: the set is full`},
		{Change{Name: "none", Add: all}, unix.ENOENT, "failed to add addresses to the set none: no such file or directory"},
	} {
		err := Before(t.Context(), ns, []Change{test.change})
		if err == nil || !errors.Is(err, test.is) || !regexp.MustCompile("^"+test.want+"$").MatchString(err.Error()) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	err := After(t.Context(), ns, []Change{{Name: name, Del: []netip.Addr{netip.IPv6Loopback()}}})
	if want := "failed to take ::1 out of the set meshtables-test: the set does not take it, such as one for another IP family"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A set that something uses is not removed, after a while of waiting.
func TestBusy(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	ns := nstest.Here(t)
	if err := Before(t.Context(), ns, []Change{{Family: iptables.IPv4, Name: name, Make: true}}); err != nil {
		t.Fatal(err)
	}
	nstest.Run(t, "ipset", "create", "all", "list:set")
	nstest.Run(t, "ipset", "add", "all", name)
	err := After(t.Context(), ns, []Change{{Name: name, Drop: true}})
	if want := "failed to remove the set meshtables-test: rules or other sets use it"; !errors.Is(err, errBusy) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
