package tests

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite what is recorded from what happens")

// privilegeTable is the document that holds the table, between two lines of
// their own.
const (
	privilegeTable = "../deploy/README.md"
	tableBegin     = "<!-- written by go test ./tests -run TestPrivileges -update -->\n"
	tableEnd       = "<!-- end -->\n"
)

// need are capabilities: some are those without which an operation fails, all
// those without which it is not done completely.
type need struct{ some, all []string }

// needs are those of all cells, which several tests fill.
type needs struct {
	mu    sync.Mutex
	cells map[string]need
}

// add says how an operation ended without a capability.
func (n *needs) add(op operation, who account, backend, removed string, end outcome) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cells == nil {
		n.cells = make(map[string]need)
	}
	needed := n.cells[cell(op, who, backend)]
	if end == failed {
		needed.some = append(needed.some, removed)
	}
	if end != succeeded {
		needed.all = append(needed.all, removed)
	}
	n.cells[cell(op, who, backend)] = needed
}

// of returns what an operation needs. Of one who has nothing to do with root it is
// that of the other user: with all capabilities he could do without root's group,
// and in more than one way.
func (n *needs) of(op operation, who account, backend string) need {
	if op.probes() {
		backend = backends()[0]
	}
	who.group = "0"
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cells[cell(op, who, backend)]
}

// privileges are the cells of the table, which several tests fill.
type privileges struct {
	mu    sync.Mutex
	cells map[string]string
}

func cell(op operation, who account, backend string) string {
	return op.name + " " + who.String() + " " + backend
}

// set fills a cell with what is needed and how the operation ended with some and
// with all of it.
func (p *privileges) set(op operation, who account, backend string, n need, withSome, withAll outcome) {
	rest := slices.DeleteFunc(slices.Clone(n.all), func(c string) bool { return slices.Contains(n.some, c) })
	text := names(n.some)
	switch {
	case withSome == failed:
		text = "not possible"
	case withAll != succeeded:
		text += ", in part"
	case len(rest) > 0:
		text += ", in part; all with " + names(rest) + " too"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cells[cell(op, who, backend)] = text
}

func names(capabilities []string) string {
	if len(capabilities) == 0 {
		return "none"
	}
	return strings.ToUpper(strings.Join(capabilities, ", "))
}

func (p *privileges) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | user:group | `%s` |\n|---|---|%s\n", strings.Join(backends(), "` | `"), strings.Repeat("---|", len(backends())))
	for _, op := range operations() {
		for _, who := range accounts() {
			fmt.Fprintf(&b, "| %s | %s |", op.name, who)
			for _, backend := range backends() {
				fmt.Fprintf(&b, " %s |", p.cells[cell(op, who, backend)])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// compare compares them with the document, or rewrites that.
func (p *privileges) compare(t *testing.T) {
	t.Helper()
	before, recorded, after := readPrivilegeTable(t)
	if *update {
		text := before + tableBegin + p.table() + tableEnd + after
		if err := os.WriteFile(privilegeTable, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(recorded, p.table()); diff != "" {
		t.Errorf("%s (-), what happens (+):\n%s", privilegeTable, diff)
	}
}

// readPrivilegeTable returns the table, and what is around it in the document.
func readPrivilegeTable(t *testing.T) (before, table, after string) {
	t.Helper()
	document, err := os.ReadFile(privilegeTable)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(document), tableBegin)
	table, after, ok := strings.Cut(rest, tableEnd)
	if !ok {
		t.Fatalf("%s has no lines %s and %s", privilegeTable, tableBegin, tableEnd)
	}
	return before, table, after
}

// isNamedInTable reports whether anything there needs the capability.
func isNamedInTable(t *testing.T, capability string) bool {
	t.Helper()
	_, table, _ := readPrivilegeTable(t)
	return regexp.MustCompile(`\b` + strings.ToUpper(capability) + `\b`).MatchString(table)
}
