package netlink

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What is built is read back as it was.
func TestAttributes(t *testing.T) {
	t.Parallel()
	var b Builder
	b.PutString(1, "name")
	b.Nest(2, func() { b.PutUint64(3, 1<<40) })
	b.PutUint32(4, 7)
	var kinds []uint16
	for kind, value := range Attributes(b.Bytes()) {
		kinds = append(kinds, kind)
		switch kind {
		case 1:
			if got := ReadString(value); got != "name" {
				t.Errorf("got %q", got)
			}
		case 2:
			for kind, value := range Attributes(value) {
				if got := ReadUint64(value); kind != 3 || got != 1<<40 {
					t.Errorf("got attribute %d: %d", kind, got)
				}
			}
		case 4:
			if got := ReadUint32(value); got != 7 {
				t.Errorf("got %d", got)
			}
		}
	}
	if len(kinds) != 3 {
		t.Errorf("got attributes %d", kinds)
	}
}

// Whatever bytes come, reading them ends, and neither message nor attribute is
// larger than what came.
func FuzzMessages(f *testing.F) {
	var b Builder
	explained := func(b *Builder) { b.PutString(unix.NLMSGERR_ATTR_MSG, "no") }
	b.message(Request{Kind: unix.NLMSG_ERROR, Flags: unix.NLM_F_ACK_TLVS, Attributes: explained}, 1)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		for m, err := range Messages(data) {
			if err != nil {
				break
			}
			read := 0
			for _, value := range m.Attributes() {
				read += len(value)
			}
			if r := m.refusal(Purpose("")); len(m.body) > len(data) || read > len(m.body) || len(r.Explanation) > len(m.body) {
				t.Errorf("%d bytes of attributes and %q of a message of %d of %d bytes", read, r.Explanation, len(m.body), len(data))
			}
		}
	})
}
