package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/spf13/pflag"

	"github.com/meshtables/meshtables/iptables/config"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// generated are the documents that are made of the options, and the template of
// each.
func generated() []struct{ path, template string } {
	return []struct{ path, template string }{
		{"../../docs/options.md", "testdata/options.md.tmpl"},
		{"../../docs/meshtables.8", "testdata/meshtables.8.tmpl"},
	}
}

// The documents say what the flags say. "make docs" writes them, so this test
// comes before those that read them.
func TestGeneratedDocuments(t *testing.T) {
	for _, d := range generated() {
		want, err := render(d.template)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(d.path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the options say; run make docs", d.path)
		}
	}
}

// No flag of any verb is left out, hidden ones included.
func TestDocumentsAreComplete(t *testing.T) {
	t.Parallel()
	for _, d := range generated() {
		text, err := os.ReadFile(d.path)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), `\-`, "-")
		for _, v := range verbs() {
			newCommandLineOf(v, everyRow()).set.VisitAll(func(f *pflag.Flag) {
				long := "--" + f.Name
				if strings.HasSuffix(d.path, ".8") {
					long = "Fl -" + f.Name
				}
				if !strings.Contains(plain, long) {
					t.Errorf("%s has nothing about --%s", d.path, f.Name)
				}
			})
		}
	}
}

// The manual page has no error that a formatter would tell.
func TestManualPage(t *testing.T) {
	t.Parallel()
	page := generated()[1].path
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		switch {
		case line == "":
			t.Errorf("%s:%d: empty line, where .Pp is meant", page, i+1)
		case strings.TrimRight(line, " ") != line:
			t.Errorf("%s:%d: space at the end of the line", page, i+1)
		}
	}
	for open, end := range map[string]string{".Bl ": ".El\n", ".Bd ": ".Ed\n"} {
		if bytes.Count(text, []byte("\n"+open)) != bytes.Count(text, []byte("\n"+end)) {
			t.Errorf("%s: not every %shas its %s", page, open, end)
		}
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("the program mandoc would tell more: ", err)
	}
	if out, err := exec.Command("mandoc", "-T", "lint", "-W", "warning", page).CombinedOutput(); err != nil {
		t.Errorf("mandoc: %v\n%s", err, out)
	}
}

// documentation is what the templates are made of.
type documentation struct {
	Verbs []documentedVerb
	// Capture are the options that say what is captured, Every the others that
	// every verb has.
	Capture, Every []documentedOption
	// Ambient are the options that say what is captured in ambient mode, Refused those of
	// sidecars that are refused there. Linkerd and NotLinkerd are the same for Linkerd.
	Ambient, Refused    []documentedOption
	Linkerd, NotLinkerd []documentedOption
	// LinkerdNames are all flags of Linkerd's.
	LinkerdNames []linkerdName
	// Apply, Probe, Show, Explain, Host, CNI and Audit are those of these verbs alone.
	Apply, Probe, Show, Explain, Host, CNI, Audit []documentedOption
	// Alias are other words for options, Ignored those without effect.
	Alias   []documentedOption
	Ignored []string
}

// documentedVerb has exported fields for the templates.
type documentedVerb struct{ Name, Usage, Summary string }

type documentedOption struct {
	config.Option
	// Kind is what its value is, such as "port"; empty where it takes none.
	Kind string
}

// document collects everything from the command lines of all verbs.
func document() documentation {
	all := make(map[string]documentation)
	var d documentation
	var o options
	for _, v := range verbs() {
		line := newCommandLine(v, chosenDataplane(v, nil, nil, nil))
		own := []config.Row(nil)
		if v.options != nil {
			own = v.options(&o)
		}
		if v.usage != "" {
			d.Verbs = append(d.Verbs, documentedVerb{v.name, v.usage, v.summary})
		}
		all[v.name] = documentation{
			Capture: optionsOf(line, line.flags.Policy()),
			Every:   optionsOf(line, optionsIn(o.rows())),
			Apply:   optionsOf(line, optionsIn(own)),
		}
	}
	d.Ambient, d.Refused = documentDataplane(ofAmbient)
	d.Linkerd, d.NotLinkerd = documentDataplane(ofLinkerd)
	d.LinkerdNames = linkerdList()
	first := all[""]
	hidden := func(d documentedOption) bool { return d.Hidden }
	d.Alias = slices.DeleteFunc(slices.Concat(first.Capture, first.Every), func(d documentedOption) bool { return !d.Hidden })
	d.Capture, d.Every = slices.DeleteFunc(first.Capture, hidden), slices.DeleteFunc(first.Every, hidden)
	d.Probe, d.Show, d.Explain, d.CNI = all["probe"].Apply, all["show"].Apply, all["explain"].Apply, all["cni"].Apply
	d.Host = slices.DeleteFunc(slices.Concat(all[hostVerb].Apply, all[hostVerb].Capture), func(o documentedOption) bool {
		return slices.ContainsFunc(slices.Concat(first.Apply, d.Ambient), func(p documentedOption) bool { return p.Name == o.Name })
	})
	d.Audit = all["audit"].Apply
	d.Apply = slices.DeleteFunc(first.Apply, func(o documentedOption) bool {
		return slices.ContainsFunc(d.Probe, func(p documentedOption) bool { return p.Name == o.Name })
	})
	d.Ignored = slices.DeleteFunc(slices.Sorted(slices.Values(slices.Concat(meaningless, meaninglessSwitches))),
		func(name string) bool { return slices.Contains(linkerdNames, name) })
	return d
}

// documentDataplane collects the options of a dataplane, and those that are refused there.
func documentDataplane(of dataplane) (options, refused []documentedOption) {
	line := newCommandLine(verbs()[0], choice{dataplane: of})
	for _, o := range optionsOf(line, line.flags.Policy()) {
		switch {
		case o.Refused != "":
			refused = append(refused, o)
		case !o.Hidden:
			options = append(options, o)
		}
	}
	return options, refused
}

func optionsIn(rows []config.Row) []config.Option {
	list := make([]config.Option, len(rows))
	for i, r := range rows {
		list[i] = r.Option
	}
	return list
}

// optionsOf returns those of a command line that have the names of the wanted.
func optionsOf(line *commandLine, wanted []config.Option) []documentedOption {
	all := line.flags.Options()
	var list []documentedOption
	for _, w := range wanted {
		i := slices.IndexFunc(all, func(o config.Option) bool { return o.Name == w.Name })
		d := documentedOption{Option: all[i], Kind: line.set.Lookup(w.Name).Value.Type()}
		if d.Kind == "bool" {
			d.Kind = ""
		}
		list = append(list, d)
	}
	return list
}

// Off tells whether the option is a switch, which is off by default.
func (o documentedOption) Off() bool { return o.Kind == "" && o.Default == "false" }

// render fills a template in.
func render(path string) ([]byte, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"md": markdown, "mdoc": mdoc, "sentence": sentence,
	}).ParseFiles(path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, filepath.Base(path), document()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b.Bytes(), nil
}

// codeWords are those of --help that documents show as code: flags and variables.
var codeWords = regexp.MustCompile(`--[a-z][-a-z0-9]*|\$[A-Z_]+`)

// markdown returns text for a cell of a table.
func markdown(text string) string {
	text = strings.NewReplacer("*", `\*`, "|", `\|`).Replace(text)
	return codeWords.ReplaceAllString(text, "`$0`")
}

// mdoc returns text for a manual page, of lines that are not too long.
func mdoc(text string) string {
	lines := []string{""}
	for _, word := range strings.Fields(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)) {
		last := len(lines) - 1
		switch {
		case lines[last] == "":
			lines[last] = word
		case len(lines[last])+len(word) < 78:
			lines[last] += " " + word
		default:
			lines = append(lines, word)
		}
	}
	for i, line := range lines {
		// These would make a macro of the line.
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// sentence makes one of what --help says.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// Every annotation has its place on the page about them.
func TestAnnotationsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/annotations.md")
	if err != nil {
		t.Fatal(err)
	}
	d := document()
	for _, o := range slices.Concat(d.Capture, d.Ambient, d.Linkerd) {
		for _, key := range o.Annotations {
			if !strings.Contains(string(page), "| `"+key+"` |") {
				t.Errorf("docs/annotations.md has nothing about %s", key)
			}
		}
	}
}
