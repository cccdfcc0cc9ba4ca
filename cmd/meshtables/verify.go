package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture"
	"github.com/meshtables/meshtables/iptables/kernel"
	"github.com/meshtables/meshtables/iptables/pod"
	"github.com/meshtables/meshtables/iptables/verify"
)

// verify compares what is installed with what the options ask for or, without options, with
// what was asked for when the rules were applied.
func (c *command) verify(ctx context.Context) int {
	v, status := c.compare(ctx, nil)
	if status != exitDone {
		return status
	}
	return c.printComparison(v)
}

// printComparison prints the answer of verify.
func (c *command) printComparison(v pod.Verification) int {
	answer := verification{Verification: v}
	if v.IsMendable() {
		answer.Apply = c.mending(&v)
	}
	if failed := c.print(answer); failed != exitDone {
		return failed
	}
	if !v.IsAsWanted() {
		return exitDifferent
	}
	return exitDone
}

// compare returns the result of comparing, also of the sets that the plan is to have, unless
// that is nil. If it fails, the exit status is not exitDone.
func (c *command) compare(ctx context.Context, sets pod.SetsOf) (v pod.Verification, status int) {
	var p pod.Plan
	var defaults capture.Wanted
	var err error
	asks := c.asksForCapture()
	if asks {
		if p, status = c.plan(ctx); status != exitDone {
			return v, status
		}
	} else if defaults, err = c.line.readConfig(c.options, c.env, c.log); err != nil {
		return v, c.usageError(err)
	}
	f, err := pod.FindAll(ctx, c.namespace, policies().Ownership(), c.backend)
	c.debug(f.Candidates)
	switch {
	case err != nil:
	case asks:
		if sets != nil {
			p.Sets = sets(&p)
		}
		v, err = pod.Verify(ctx, c.namespace, &f, policies(), &p)
	default:
		policy := c.policyOr(f.AskedPolicy(policies()))
		if policy != c.line.policy {
			defaults, err = capture.Parse(policy, nil)
		}
		if err == nil {
			v, err = pod.VerifyAsked(ctx, c.namespace, &f, policies(), policy, defaults, sets)
		}
	}
	if err != nil {
		return v, c.failed(err)
	}
	c.warn(v.Warnings)
	if len(f.Ours) > 0 {
		c.warn(interceptorWarnings(c.readInterceptors(ctx)))
	}
	for _, s := range v.Advice {
		c.warn([]string{s.Without + "\nhint: " + s.String()})
	}
	for _, u := range v.Unheard {
		text := u.Text
		if u.Hint != "" {
			text += "\n" + hintPrefix + u.Hint
		}
		c.log.Warn(text)
	}
	for _, line := range v.Facts {
		c.log.Debug(line)
	}
	return v, exitDone
}

// mending returns the words of the command that makes everything as it is compared with.
// It leaves the rules in the native form if they are there.
func (c *command) mending(v *pod.Verification) []string {
	words := []string{"meshtables"}
	words = append(words, dataplane(v.Policy.Name()).words()...)
	words = append(words, v.Options...)
	words = append(words, c.hostOptions.words()...)
	if v.Replaces != "" {
		words = append(words, "--replace-dataplane")
	}
	switch {
	case c.backend != kernel.Auto:
		words = append(words, "--backend="+c.backend)
	case v.Backend == kernel.Native:
		words = append(words, "--backend="+v.Backend)
	}
	if c.networkNamespace != "" {
		words = append(words, "--"+namespaceOption+"="+c.networkNamespace)
	}
	return words
}

// verification is the answer of verify.
type verification struct {
	pod.Verification
	// Apply is the command that makes everything as it is compared with; nil if it would
	// change nothing, or if nobody knows the options.
	Apply []string `json:"apply,omitempty"`
}

func (v verification) text(w io.Writer) {
	if v.Replaces != "" {
		// The list would have every rule of both.
		fmt.Fprintf(w, "%s: the rules are those of %s, not of %s (%s)\n", v.Result, v.Replaces, capture.Title(v.Policy), v.Backend)
		v.writeSource(w)
		fmt.Fprintf(w, "%sverify without options compares with what was asked for; replace them with: %s\n", hintPrefix, shellWords(v.Apply))
		return
	}
	switch v.Only {
	case pod.OnlyBackend:
		// The list would have every rule twice and say no more than this.
		there := v.Elsewhere[0].Backend
		fmt.Fprintf(w, "%s: the rules are in %s, not in %s\n", v.Result, there, v.Backend)
		v.writeSource(w)
		fmt.Fprintf(w, "%sverify with --backend=%s, or move them with: %s\n", hintPrefix, there, shellWords(v.Apply))
		return
	case pod.OnlyComments:
		fmt.Fprintf(w, "%s in comments only (%s)\n", v.Result, v.Backend)
	default:
		fmt.Fprintf(w, "%s (%s)\n", v.Result, v.Backend)
	}
	v.writeSource(w)
	v.writeFaults(w)
	v.writeRules(w)
	v.writeSets(w)
	v.writeForeign(w)
	for _, why := range v.Undelivered {
		fmt.Fprintln(w, why)
	}
	if len(v.Routing) > 0 {
		fmt.Fprintln(w, "routing needs")
		for _, command := range v.Routing {
			fmt.Fprintf(w, "  %s\n", command)
		}
	}
	if len(v.Sysctls) > 0 {
		fmt.Fprintln(w, "the namespace needs")
		for _, command := range v.Sysctls {
			fmt.Fprintf(w, "  %s\n", command)
		}
	}
	v.writeHint(w)
}

// writeSource prints what is compared with, unless the caller gave it.
func (v verification) writeSource(w io.Writer) {
	switch v.Source {
	case pod.Recorded:
		fmt.Fprintf(w, "compared with what was asked for: %s\n", brief(v.Options))
	case pod.InRules:
		fmt.Fprintf(w, "compared with the options found in the rules: %s\n", brief(v.Options))
	case pod.Defaults:
		if v.Replaces != "" {
			return
		}
		fmt.Fprintln(w, "compared with the defaults, because there are no rules")
	}
}

// brief returns arguments as text, with long lists cut.
func brief(args []string) string {
	if len(args) == 0 {
		return "the defaults"
	}
	short := make([]string, len(args))
	for i, arg := range args {
		short[i] = iptables.ShortList(strings.Split(arg, ","), iptables.MaxListed)
	}
	return strings.Join(short, " ")
}

// writeHint prints what to do about differences.
func (v verification) writeHint(w io.Writer) {
	switch {
	case v.Forgotten:
		fmt.Fprintf(w, "%sapply again with the options that were asked for: they were too long to be recorded\n", hintPrefix)
	case len(v.Apply) > 0 && v.Source == pod.InRules:
		// What is wrong with the rules may be in these options.
		fmt.Fprintf(w, "%sapply again with the options that were asked for or, if these are the ones, with: %s\n", hintPrefix, shellWords(v.Apply))
	case len(v.Apply) > 0:
		fmt.Fprintf(w, "%sapply again with: %s\n", hintPrefix, shellWords(v.Apply))
	}
}

// shellWords returns words as a shell reads them.
func shellWords(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = word
		if strings.ContainsFunc(word, isSpecial) {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// isSpecial reports whether a character may mean something to a shell.
func isSpecial(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-=,./:_+", r)
}

func (v verification) writeFaults(w io.Writer) {
	for _, fault := range v.Faults {
		fmt.Fprintln(w, fault)
	}
	for _, m := range v.Elsewhere {
		for _, fault := range m.Faults {
			fmt.Fprintf(w, "%s: %s\n", m.Backend, fault)
		}
	}
}

// writeSets prints the differences of sets, with the marks of rules.
func (v verification) writeSets(w io.Writer) {
	for _, d := range v.Sets {
		fmt.Fprintf(w, "%s set %s", d.Family, d.Set)
		if d.Absent {
			fmt.Fprint(w, " is missing")
		}
		fmt.Fprintln(w)
		writeAddresses(w, "+", d.Missing)
		writeAddresses(w, "-", d.Unexpected)
	}
}

func writeAddresses(w io.Writer, mark string, all []netip.Addr) {
	for i, a := range all {
		if i == iptables.MaxListed {
			fmt.Fprintf(w, "  %s and %d more\n", mark, len(all)-i)
			return
		}
		fmt.Fprintf(w, "  %s %s\n", mark, a)
	}
}

// writeForeign prints what foreign rules do, with a command for each that takes it away.
func (v verification) writeForeign(w io.Writer) {
	if len(v.Foreign) == 0 {
		return
	}
	from := "traffic from the proxy"
	if dataplane(v.Policy.Name()) == ofNode {
		from = "health probes from their address"
	}
	fmt.Fprintln(w, "foreign rules keep "+from)
	for _, i := range v.Foreign {
		fmt.Fprintf(w, "  %s\n", i.Text)
		if i.Mend != "" {
			fmt.Fprintf(w, "    %s%s\n", hintPrefix+"to take it away: ", i.Mend)
		}
	}
}

// writeRules prints the differences of rules, after a line that explains their marks.
func (v verification) writeRules(w io.Writer) {
	all := v.Rules
	for _, m := range v.Elsewhere {
		all = slices.Concat(all, m.Rules)
	}
	if len(all)+len(v.Sets) > 0 {
		fmt.Fprintln(w, verify.Legend)
	}
	writeDifferences(w, "", v.Rules)
	for _, m := range v.Elsewhere {
		writeDifferences(w, m.Backend+" ", m.Rules)
	}
}

// writeDifferences prints the differences, under a line for each chain.
func writeDifferences(w io.Writer, prefix string, all []verify.Difference) {
	for _, c := range byChain(all) {
		fmt.Fprintf(w, "%s%s %s\n%s", prefix, strings.Join(c.families, " and "), c.chain, c.lines)
	}
}

// chainDifferences are the lines about a chain, and the families that have them.
type chainDifferences struct {
	families     []string
	chain, lines string
}

// byChain groups differences by chain, and merges those that are alike in both families.
func byChain(all []verify.Difference) []chainDifferences {
	var groups []chainDifferences
	for _, d := range all {
		chain, n := d.Table+" "+d.Chain, len(groups)
		if n == 0 || groups[n-1].chain != chain || groups[n-1].families[0] != d.Family {
			groups = append(groups, chainDifferences{families: []string{d.Family}, chain: chain})
			n++
		}
		groups[n-1].lines += fmt.Sprintf("  %s\n", d)
	}
	var merged []chainDifferences
	for _, g := range groups {
		i := slices.IndexFunc(merged, func(m chainDifferences) bool { return m.chain == g.chain && m.lines == g.lines })
		if i >= 0 {
			merged[i].families = append(merged[i].families, g.families...)
			continue
		}
		merged = append(merged, g)
	}
	return merged
}
