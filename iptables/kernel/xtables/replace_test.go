package xtables

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// Every ruleset replaces every other, in both families, and nothing stays of it
// in the end.
func TestReplace(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		states := []iptables.Ruleset{
			{},
			parse(t, redirect, ""),
			parse(t, redirect, redirect),
			parse(t, tproxy, tproxyV6),
			parse(t, dns, redirect),
		}
		for _, from := range states {
			for _, to := range states {
				replace(t, b, from)
				replace(t, b, to)
			}
		}
		replace(t, b, iptables.Ruleset{})
	})
}

// What is not ours stays as and where it is, whatever happens to ours: rules
// before and after our jumps, chains with similar names, policies.
func TestForeignRulesStay(t *testing.T) {
	t.Parallel()
	const foreign = `*nat
:ISTIOLOGY - [0:0]
-A ISTIOLOGY -p tcp -m tcp --dport 7 -m comment --comment "ours? \"no\" -j ISTIO_OUTPUT" -j RETURN
-A OUTPUT -p tcp -m tcp --dport 1 -j ISTIOLOGY
-A OUTPUT -d 192.0.2.0/24 -p tcp -m tcp --dport 2 -j DNAT --to-destination 192.0.2.7:3
-A POSTROUTING -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
COMMIT
`
	eachVariant(t, func(t *testing.T, b *Backend) {
		restore(t, b, iptables.IPv4, foreign)
		before := load(t, b)
		replace(t, b, parse(t, redirect, redirect))
		// A rule that comes after our jump stays after it.
		last := "-A OUTPUT -p udp -m udp --dport 4 -j ACCEPT\n"
		restore(t, b, iptables.IPv4, "*nat\n"+last+"COMMIT\n")
		changed := strings.ReplaceAll(redirect, "15001", "15002")
		replace(t, b, parse(t, changed, changed))

		text := lines(load(t, b), iptables.IPv4)
		want := "-j DNAT --to-destination 192.0.2.7:3\n-A OUTPUT -j ISTIO_OUTPUT\n" + last
		if !strings.Contains(text, want) {
			t.Errorf("the jump has moved; got\n%s\nwant in it\n%s", text, want)
		}
		restore(t, b, iptables.IPv4, "*nat\n"+strings.Replace(last, "-A", "-D", 1)+"COMMIT\n")
		replace(t, b, iptables.Ruleset{})
		if got, want := lines(load(t, b), iptables.IPv4), lines(before, iptables.IPv4); got != want {
			t.Errorf("after removal: got\n%s\nwant\n%s", got, want)
		}
	})
}

// States that no run should leave behind, and that reruns of the reference or
// interrupted programs do, are repaired.
func TestRepair(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{
		"doubled jumps": "*nat\n-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n-A PREROUTING -p tcp -j ISTIO_INBOUND\nCOMMIT\n",
		"jumps in other words": "*nat\n-A OUTPUT -p tcp -m comment --comment \"a \\\"word\\\" or two\" -m multiport ! --dports 1,2:3 -j ISTIO_OUTPUT\n" +
			"-A PREROUTING ! -i eth0 -m addrtype --dst-type LOCAL -m limit --limit 5/sec -g ISTIO_INBOUND\nCOMMIT\n",
		"a missing jump":  "*nat\n-D OUTPUT -j ISTIO_OUTPUT\nCOMMIT\n",
		"an empty chain":  "*nat\n-F ISTIO_OUTPUT\nCOMMIT\n",
		"a missing chain": "*nat\n-F ISTIO_INBOUND\n-F ISTIO_IN_REDIRECT\n-X ISTIO_IN_REDIRECT\nCOMMIT\n",
		"another order": "*nat\n-D ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\n" +
			"-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN\nCOMMIT\n",
		"a doubled rule": "*nat\n-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n",
		"obsolete chains that need each other": "*nat\n:ISTIO_A - [0:0]\n:ISTIO_B - [0:0]\n" +
			"-A ISTIO_A -j ISTIO_B\n-A ISTIO_OUTPUT -j ISTIO_A\n-A INPUT -g ISTIO_B\nCOMMIT\n",
		"a jump from a foreign chain": "*nat\n:FOREIGN - [0:0]\n-A FOREIGN -p udp -j ISTIO_REDIRECT\n-A OUTPUT -j FOREIGN\nCOMMIT\n",
		"other tables":                "*raw\n:ISTIO_X - [0:0]\n-A OUTPUT -j ISTIO_X\nCOMMIT\n*filter\n:ISTIO_Y - [0:0]\n-A INPUT -j ISTIO_Y\nCOMMIT\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachVariant(t, func(t *testing.T, b *Backend) {
				want := parse(t, redirect, redirect)
				replace(t, b, want)
				restore(t, b, iptables.IPv4, broken)
				restore(t, b, iptables.IPv6, broken)
				replace(t, b, want)
				if text := lines(load(t, b), iptables.IPv4); strings.Contains(broken, "FOREIGN") && !strings.Contains(text, "-A OUTPUT -j FOREIGN") {
					t.Errorf("a foreign rule is gone:\n%s", text)
				}
			})
		})
	}
}

// Chains that stay the same keep their counters.
func TestCountersOfUnchangedChains(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		replace(t, b, parse(t, redirect, ""))
		_, err := b.execer.run(t.Context(), command{
			path: b.programs[iptables.IPv4].restore, args: []string{"--noflush", "--counters"},
			input: "*nat\n:ISTIO_REDIRECT - [0:0]\n[5:300] -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		replace(t, b, parse(t, strings.ReplaceAll(redirect, "15006", "15007"), ""))
		have := load(t, b)
		got := have.Table(iptables.IPv4, iptables.Nat).Chain("ISTIO_REDIRECT").Rules[0].Counters
		if got != (iptables.Counters{Packets: 5, Bytes: 300}) {
			t.Errorf("got %v, want 5 packets of 300 bytes", got)
		}
	})
}

// refused is a table that the programs accept and the kernel does not: REDIRECT
// works in nat only.
const refused = `*mangle
:PREROUTING ACCEPT [0:0]
:ISTIO_X - [0:0]
-A PREROUTING -j ISTIO_X
-A ISTIO_X -p tcp -j REDIRECT --to-ports 1
COMMIT
`

// Where a later part is refused, the parts before it are put back: a family, or
// a table of the same family.
func TestRollback(t *testing.T) {
	t.Parallel()
	for name, wanted := range map[string][2]string{
		"IPv6 after IPv4":  {tproxy, refused},
		"mangle after raw": {dns[:strings.Index(dns, "*nat")] + refused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachVariant(t, func(t *testing.T, b *Backend) {
				restore(t, b, iptables.IPv4, "*nat\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT\n")
				replace(t, b, parse(t, redirect, redirect))
				before := load(t, b)

				err := b.Replace(t.Context(), installed.Backend{Rules: before}, parse(t, wanted[0], wanted[1]))
				var failed *ReplaceError
				if !errors.As(err, &failed) || failed.PutBack != nil {
					t.Fatalf("got %v, want a ReplaceError with the rules put back", err)
				}
				if !strings.Contains(err.Error(), "\nthe old rules are still in place") {
					t.Errorf("got %v", err)
				}
				after := load(t, b)
				if got, want := owned.Of(after), owned.Of(before); !got.Equal(&want) {
					t.Errorf("got\n%s%s\nwant\n%s%s", got.Save(iptables.IPv4), got.Save(iptables.IPv6), want.Save(iptables.IPv4), want.Save(iptables.IPv6))
				}
				if text := lines(after, iptables.IPv4); !strings.Contains(text, "-A OUTPUT -p udp -j ACCEPT") {
					t.Errorf("a foreign rule is gone:\n%s", text)
				}
			})
		})
	}
}

// What the programs themselves do not understand is found before anything is
// written.
func TestUnknownExtensionIsFoundBeforehand(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		before := load(t, b)
		err := b.Replace(t.Context(), installed.Backend{Rules: before}, parse(t, redirect, strings.Replace(redirect, "-m owner --uid-owner 1337", "-m bogus --banana", 1)))
		if !errors.Is(err, ErrMissing) {
			t.Fatalf("got %v, want ErrMissing", err)
		}
		for _, want := range []string{
			"there is no match bogus", "-A ISTIO_OUTPUT -m bogus --banana -j RETURN", "\nthe old rules are still in place\nhint: ",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q is missing from the message:\n%v", want, err)
			}
		}
		rs := load(t, b)
		if own := owned.Of(rs); len(own.Tables) != 0 {
			t.Errorf("got rules:\n%s", own.Save(iptables.IPv4))
		}
	})
}

// failAfter lets a number of runs of restore programs succeed, and none
// thereafter, as if the machine had no memory left.
type failAfter struct {
	realExecer
	left *int
}

func (f failAfter) run(ctx context.Context, c command) (string, error) {
	if strings.HasSuffix(c.path, "-restore") {
		if *f.left == 0 {
			return "", newError(c, -1, "", errors.New("cannot allocate memory"))
		}
		*f.left--
	}
	return f.realExecer.run(ctx, c)
}

// If even putting back fails, the error says so.
func TestRollbackThatFails(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		left := 3 // both tests, IPv4
		b.execer = failAfter{realExecer: realExecer{b.namespace}, left: &left}
		err := b.Replace(t.Context(), found(t, b), parse(t, redirect, redirect))
		var failed *ReplaceError
		if !errors.As(err, &failed) || failed.PutBack == nil {
			t.Fatalf("got %v, want a ReplaceError that says that putting back failed", err)
		}
		if !strings.Contains(err.Error(), "\nthe old rules could not be put back: ") {
			t.Errorf("got %v", err)
		}
	})
}

// A context that ends while rules are written does not leave them half written.
type cancelAfter struct {
	realExecer
	left   *int
	cancel func()
}

func (c cancelAfter) run(ctx context.Context, cmd command) (string, error) {
	out, err := c.realExecer.run(ctx, cmd)
	if strings.HasSuffix(cmd.path, "-restore") {
		if *c.left--; *c.left == 0 {
			c.cancel()
		}
	}
	return out, err
}

func TestCancelledWrite(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		ctx, cancel := context.WithCancel(t.Context())
		left := 3 // both tests, IPv4
		b.execer = cancelAfter{realExecer: realExecer{b.namespace}, left: &left, cancel: cancel}
		err := b.Replace(ctx, found(t, b), parse(t, redirect, redirect))
		var failed *ReplaceError
		if !errors.Is(err, context.Canceled) || !errors.As(err, &failed) || failed.PutBack != nil {
			t.Errorf("got %v", err)
		}
		rs := load(t, b)
		if own := owned.Of(rs); len(own.Tables) != 0 {
			t.Errorf("got rules:\n%s", own.Save(iptables.IPv4))
		}
	})
}

// Looking at rules makes nothing: no legacy table, no nf_tables table.
func TestLoadMakesNothing(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		rs := load(t, b)
		if len(rs.Tables) != 0 {
			t.Errorf("got tables: %v", rs.Tables)
		}
		for _, family := range iptables.Families() {
			if names, err := LegacyTables(nstest.Here(t), family); len(names) != 0 || err != nil {
				t.Errorf("%s legacy tables: got %q, %v", family, names, err)
			}
		}
		if out := nstest.Run(t, "nft", "list", "ruleset"); out != "" {
			t.Errorf("got nf_tables rules:\n%s", out)
		}
	})
}

// A table that iptables cannot show must not pass for an empty one.
func TestIncompatibleTable(t *testing.T) {
	t.Parallel()
	nstest.Enter(t)
	b := find(t, NFT)
	nstest.Run(t, "nft", "add table ip filter { chain OUTPUT { type filter hook output priority 0; ct count 2 accept; }; }")
	load(t, b)
	nstest.Run(t, "nft", "add table ip6 nat { chain OUTPUT { type nat hook output priority -100; ct count 2 accept; }; }")
	_, err := b.Load(t.Context())
	if !errors.Is(err, ErrIncompatible) || !strings.Contains(err.Error(), "IPv6 table nat") {
		t.Errorf("got %v", err)
	}
}

// Comments are what they were, whatever is in them.
func TestComments(t *testing.T) {
	t.Parallel()
	eachVariant(t, func(t *testing.T, b *Backend) {
		want := parse(t, redirect, redirect)
		for i, text := range []string{
			"--tunnel-port=15008", "", "-j", "!", "*nat", "#", "COMMIT", ` "it's" a \ `, "\t", "é\xff\x01", strings.Repeat("x", iptables.MaxComment),
		} {
			for _, table := range want.Tables {
				r := &table.Chain("ISTIO_OUTPUT").Rules[0]
				r.Matches = []iptables.Match{iptables.Comment{Text: text}}
				if i%2 == 0 {
					// The jump is found again, to be deleted.
					table.Chain(iptables.Output).Rules[0].Matches = r.Matches
				}
			}
			replace(t, b, want)
		}
		replace(t, b, iptables.Ruleset{})
	})
}
