package linkerd_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/linkerd"
	"github.com/meshtables/meshtables/iptables/form"
	"github.com/meshtables/meshtables/iptables/host"
	"github.com/meshtables/meshtables/iptables/internal/plantest"
	"github.com/meshtables/meshtables/tests/recorded"
	"github.com/meshtables/meshtables/tests/soak"
)

// What the reference wrote is recognised, down to the option behind each rule.
func TestRecogniseReference(t *testing.T) {
	for _, c := range recorded.LinkerdCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			cfg := c.Config(t)
			found := linkerd.Recognise(c.Commented(t), form.IPTables)
			if diff := cmp.Diff(cfg.Args(), found.Wanted.(linkerd.Config).Args()); diff != "" {
				t.Errorf("options given (-), recognised (+):\n%s", diff)
			}
			if !found.Complete || found.Commented {
				t.Errorf("complete %t, with our comments %t", found.Complete, found.Commented)
			}
			planned := form.IPTables(cfg.Plan(c.Host()).Rules)
			if diff := cmp.Diff(describe(planned), describe(found.Rules)); diff != "" {
				t.Errorf("planned (-), recognised (+):\n%s", diff)
			}
		})
	}
}

// Rules that this program wrote are recognised, whatever the options and the form: those
// that are found make the same rules.
func TestRecogniseEveryRule(t *testing.T) {
	for seed := range uint64(soak.Times(1000, 4000)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			recognisedInEveryForm(t, plantest.Linkerd(seed))
		})
	}
}

// So are rules whose options look alike.
func TestRecogniseTouchingOptions(t *testing.T) {
	ports := func(n int, item string) string {
		words := make([]string, n)
		for i := range words {
			words[i] = fmt.Sprintf(item, i+1)
		}
		return strings.Join(words, ",")
	}
	for _, args := range []string{
		"--included-ports=",
		"--included-ports=80 --excluded-ports=80",
		"--included-ports=" + ports(40, "%d") + " --excluded-ports=" + ports(40, "2%d"),
		"--excluded-outbound-ports=" + ports(40, "%d"),
		"--excluded-source-cidrs=0.0.0.0/0,::/0",
		"--excluded-source-cidrs=0.0.0.0/0,10.0.0.0/8",
		"--excluded-source-cidrs=" + ports(40, "10.0.0.%d"),
		"--excluded-cidrs=0.0.0.0/0,::/0",
		"--excluded-cidrs=10.0.0.0/8,fd00::/8 --excluded-source-cidrs=10.0.0.0/8,fd00::/8",
		"--excluded-cidrs=" + ports(40, "10.0.0.%d") + " --excluded-outbound-ports=" + ports(40, "%d"),
		"--proxy-uid=1,2,3 --proxy-gid=1,2,3",
		"--proxy-uid=" + ports(40, "2%d") + " --proxy-gid=" + ports(40, "3%d"),
		"-p 1 -o 2",
		"--excluded-ports=1-65535",
	} {
		t.Run(args[:min(len(args), 60)], func(t *testing.T) {
			for _, ipv6 := range []string{" --ipv6=on", " --ipv6=off"} {
				recognisedInEveryForm(t, recorded.ParseLinkerd(t, "", strings.Fields(args+ipv6)...))
			}
		})
	}
}

func recognisedInEveryForm(t *testing.T, cfg linkerd.Config) {
	t.Helper()
	plan := cfg.Plan(host.Host{}).Rules
	commented := plan
	commented.Comments = true
	for name, test := range map[string]struct {
		written iptables.Ruleset
		form    func(iptables.Plan) iptables.Ruleset
	}{
		"iptables":               {withoutOrigins(t, form.IPTables(plan)), form.IPTables},
		"iptables with comments": {withoutOrigins(t, form.IPTables(commented)), form.IPTables},
		"native":                 {asStored(form.Native(plan)), form.Native},
	} {
		found := linkerd.Recognise(test.written, test.form)
		if found.Complete {
			continue
		}
		again := test.form(found.Wanted.Plan(found.Host).Rules)
		t.Errorf("%s: not recognised as complete\ngiven %q\nfound %q\nwritten (-), of the options found (+):\n%s", name,
			cfg.Args(), found.Wanted.(linkerd.Config).Args(), cmp.Diff(texts(linkerd.Ownership().Of(test.written)), texts(linkerd.Ownership().Of(again))))
	}
}

// Rules that somebody changed say which options of theirs are not valid.
func TestRecogniseRefused(t *testing.T) {
	changed := form.Native(recorded.ParseLinkerd(t, "", "--ipv6=off").Plan(host.Host{}).Rules)
	changed.Table(iptables.IPv4, iptables.Nat).Append("PROXY_INIT_REDIRECT", iptables.Rule{
		Target: iptables.Return, Origin: iptables.Origin{Option: "--excluded-ports", Value: "80x"},
	})
	found := linkerd.Recognise(changed, form.Native)
	if !slices.Equal(found.Refused, []string{"--excluded-ports"}) || found.Complete {
		t.Errorf("refused %q, complete %t", found.Refused, found.Complete)
	}
}

// withoutOrigins returns rules as iptables-save prints them and they are read again.
func withoutOrigins(t *testing.T, rs iptables.Ruleset) iptables.Ruleset {
	t.Helper()
	var read iptables.Ruleset
	for _, f := range iptables.Families() {
		tables, err := iptables.ParseSave(f, strings.NewReader(rs.Save(f)))
		if err != nil {
			t.Fatal(err)
		}
		read.Tables = append(read.Tables, tables...)
	}
	return read
}

// asStored returns rules with their origins as the kernel stores them: cut to the length of
// a comment.
func asStored(rs iptables.Ruleset) iptables.Ruleset {
	return rs.Map(func(_ *iptables.Chain, r iptables.Rule) iptables.Rule {
		r.Origin, _ = iptables.ParseOrigin(r.Origin.Comment(100))
		return r
	})
}

// describe returns the rules with their origins, a line each.
func describe(rs iptables.Ruleset) []string {
	return linesOf(rs, func(r iptables.Rule) string { return r.String() + " # " + r.Origin.String() })
}

func texts(rs iptables.Ruleset) []string { return linesOf(rs, iptables.Rule.String) }

func linesOf(rs iptables.Ruleset, line func(iptables.Rule) string) []string {
	var lines []string
	for _, table := range rs.Tables {
		for _, chain := range table.Chains {
			for _, r := range chain.Rules {
				lines = append(lines, fmt.Sprintf("%s %s %s %s", table.Family, table.Name, chain.Name, line(r)))
			}
		}
	}
	return lines
}
