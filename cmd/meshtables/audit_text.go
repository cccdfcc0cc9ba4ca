package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/node"
	"github.com/meshtables/meshtables/iptables/pod"
)

// text prints a line for each pod, the worst first, and a line that sums them up.
func (a audited) text(w io.Writer) {
	var rows [][]string
	var details []func()
	if a.Host != nil {
		rows = append(rows, columns("node", "", a.Host.Mesh, a.Host.Dataplane, a.Host.Forms, a.Host.State, a.Host.Problems))
		details = append(details, func() { a.writeHost(w) })
	}
	for i := range a.Pods {
		r := &a.Pods[i]
		rows = append(rows, columns(r.String(), strings.Join(r.Addresses, ","), r.Mesh, r.Dataplane, r.Forms, r.State, r.Problems))
		details = append(details, func() { a.writeDetails(w, r) })
	}
	widths := columnWidths(rows)
	for i, row := range rows {
		fmt.Fprintln(w, alignedRow(row, widths))
		details[i]()
	}
	fmt.Fprintln(w, a.summary())
	a.writeInterceptors(w)
	if a.Explained != nil {
		fmt.Fprintln(w)
		a.Explained.text(w)
	}
}

// columns returns the columns of a pod, or of the node.
func columns(name, addresses, mesh, dataplane string, forms []installed.Form, state node.State, problems []node.Problem) []string {
	form := make([]string, len(forms))
	for i, f := range forms {
		form[i] = string(f)
	}
	var texts []string
	for _, p := range problems {
		text, _, _ := strings.Cut(p.Text, "\n")
		texts = append(texts, text)
	}
	return []string{
		name, orDash(addresses), orDash(strings.TrimSpace(mesh + " " + dataplane)),
		orDash(strings.Join(form, ",")), string(state), strings.Join(shortProblems(texts), "; "),
	}
}

// shortProblems returns the first problems, and how many more there are.
func shortProblems(all []string) []string {
	const most = 2
	if len(all) <= most {
		return all
	}
	return append(all[:most:most], fmt.Sprintf("%d more", len(all)-most))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// widestColumn is the rightmost place up to which a column is aligned, so that one long name
// does not push everything out of sight.
const widestColumn = 48

func columnWidths(rows [][]string) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = min(widestColumn, max(widths[i], utf8.RuneCountInString(cell)))
		}
	}
	return widths
}

func alignedRow(row []string, widths []int) string {
	var b strings.Builder
	for i, cell := range row {
		b.WriteString(cell)
		b.WriteString(strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell))+2))
	}
	return strings.TrimRight(b.String(), " ")
}

// writeDetails prints what follows the line of a pod: what was done about it, what to do, if it is
// the only one who goes past its proxy, and with --verbose the difference.
func (a audited) writeDetails(w io.Writer, r *node.Report) {
	if r.Repair != nil {
		text, _, _ := strings.Cut(r.Repair.Text, "\n")
		fmt.Fprintf(w, "  %s: %s\n", strings.ReplaceAll(string(r.Repair.Result), "-", " "), text)
	}
	writeHints(w, r.Problems)
	if a.onePod && r.Exempt != nil {
		writeExempt(w, r.Exempt)
	}
	if !a.verbose {
		return
	}
	if r.Why != "" {
		fmt.Fprintf(w, "  %s\n", r.Why)
	}
	writeVerification(w, r.Verification)
}

// writeHost prints what follows the line of the node.
func (a audited) writeHost(w io.Writer) {
	writeHints(w, a.Host.Problems)
	if a.verbose {
		writeVerification(w, a.Host.Verification)
	}
}

func writeHints(w io.Writer, problems []node.Problem) {
	for _, p := range problems {
		if p.Hint != "" {
			fmt.Fprintf(w, "  %s%s\n", hintPrefix, p.Hint)
		}
	}
}

// writeVerification prints what verify says, if there is a difference.
func writeVerification(w io.Writer, v *pod.Verification) {
	if v == nil || v.IsAsWanted() {
		return
	}
	for line := range strings.Lines(textOf(verification{Verification: *v})) {
		fmt.Fprint(w, "  "+line)
	}
}

// writeExempt prints the processes that go past the proxy.
func writeExempt(w io.Writer, e *node.Exempt) {
	fmt.Fprintln(w, "  processes that go past the proxy, because the rules exempt their user or group:")
	for _, p := range e.Processes {
		fmt.Fprintf(w, "    %d %q, user %d, group %d\n", p.PID, p.Command, p.User, p.Group)
	}
	if e.More > 0 {
		fmt.Fprintf(w, "    and %d more\n", e.More)
	}
}

// writeInterceptors prints what is on the way of several pods, once. If one pod is explained, that
// says it.
func (a audited) writeInterceptors(w io.Writer) {
	if a.Interceptors == nil || a.Explained != nil {
		return
	}
	last := ""
	for _, s := range a.Interceptors.Groups() {
		pods := "1 captured pod"
		if s.Pods > 1 {
			pods = fmt.Sprintf("%d captured pods", s.Pods)
		}
		fmt.Fprintf(w, "%son the way of %s, %s\n", doubt, pods, s.Group)
		if hint := s.Hint(); hint != last {
			fmt.Fprintf(w, "  %s%s\n", hintPrefix, hint)
			last = hint
		}
	}
	for _, text := range a.Interceptors.Unread {
		fmt.Fprintf(w, "%s%s\n", doubt, text)
	}
}

// summary returns the line about all.
func (a audited) summary() string {
	if len(a.Pods) == 0 {
		return "no pods"
	}
	noun := "pods"
	if len(a.Pods) == 1 {
		noun = "pod"
	}
	var parts []string
	for _, s := range a.States {
		if s.Pods > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", s.Pods, s.State))
		}
	}
	return fmt.Sprintf("%d %s: %s", len(a.Pods), noun, strings.Join(parts, ", "))
}
