package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// schema is what docs/json.md says about the objects that the program prints, by the
// heading that each has there, and which of it was seen in outputs so far.
type schema struct {
	objects map[string][]field

	mu sync.Mutex
	// seen has "heading.field", and "heading.field=value" where values are named;
	// absent has "heading.field" of what was left out.
	seen, absent map[string]bool
}

// field is a row of a table.
type field struct {
	name   string
	list   bool
	kind   string   // string, number, boolean or object
	object string   // the heading of the object
	values []string // all there are; empty for any
	always bool
}

var (
	// schemaRow is a row of a table with four columns.
	schemaRow = regexp.MustCompile("^\\| `(\\w+)` \\| (.*?) \\| (.*?) \\| .+ \\|$")
	// schemaType is a type: one that JSON has, with values or without, or an object
	// by a link to its table.
	schemaType = regexp.MustCompile(`^(list of )?(?:(string|number|boolean)s?(: .*)?|\[[^]]*\]\(#([a-z-]+)\))$`)
	quoted     = regexp.MustCompile("`([^`]*)`")
)

// everyAnswer is the heading of what all answers have.
const everyAnswer = "in-every-answer"

// readSchema reads docs/json.md. Every row of its tables has to have the form of a field.
func readSchema(t *testing.T) *schema {
	t.Helper()
	s := &schema{objects: make(map[string][]field), seen: make(map[string]bool), absent: make(map[string]bool)}
	at := ""
	for number, line := range strings.Split(readDocument(t, "../docs/json.md"), "\n") {
		if title, ok := strings.CutPrefix(line, "#"); ok {
			at = strings.ReplaceAll(strings.ToLower(strings.TrimLeft(title, "# ")), " ", "-")
		}
		if !strings.HasPrefix(line, "|") || line == "| field | type | present | meaning |" || line == "|---|---|---|---|" {
			continue
		}
		f, err := readField(line)
		if err != nil {
			t.Fatalf("docs/json.md:%d: %v: %s", number+1, err, line)
		}
		if slices.ContainsFunc(s.objects[at], func(other field) bool { return other.name == f.name }) {
			t.Fatalf("docs/json.md:%d: %s is there twice", number+1, f.name)
		}
		s.objects[at] = append(s.objects[at], f)
	}
	for at, fields := range s.objects {
		for _, f := range fields {
			if f.object != "" && s.objects[f.object] == nil {
				t.Fatalf("docs/json.md: %s.%s: there is no table below %q", at, f.name, f.object)
			}
		}
	}
	return s
}

func readField(row string) (field, error) {
	m := schemaRow.FindStringSubmatch(row)
	if m == nil {
		return field{}, errors.New("not a row about a field")
	}
	f := field{name: m[1], always: m[3] == "always"}
	m = schemaType.FindStringSubmatch(m[2])
	if m == nil {
		return field{}, errors.New("not a type")
	}
	f.list, f.kind, f.object = m[1] != "", m[2], m[4]
	if f.object != "" {
		f.kind = "object"
	}
	for _, value := range quoted.FindAllStringSubmatch(m[3], -1) {
		f.values = append(f.values, value[1])
	}
	return f, nil
}

// answerOf returns the heading of the answer that a run of the program prints in JSON,
// by its words; "" where it prints none.
func answerOf(words []string) string {
	i := slices.Index(words, "meshtables")
	if i < 0 {
		return ""
	}
	words = words[i+1:]
	asJSON := slices.ContainsFunc(words, func(w string) bool { return w == "-Ojson" || w == "--output=json" })
	for i := range words[:max(len(words)-1, 0)] {
		asJSON = asJSON || (words[i] == "-O" || words[i] == "--output") && words[i+1] == "json"
	}
	if !asJSON {
		return ""
	}
	switch verb := words[0]; {
	case verb == "host" && slices.Contains(words, "--verify"):
		return "verify"
	case verb == "verify", verb == "show", verb == "probe", verb == "cni":
		return verb
	case verb == "explain" && (slices.Contains(words, "in") || slices.Contains(words, "out")):
		return "explain-a-connection"
	case verb == "explain":
		return "explain-everything"
	case slices.Contains(words, "--dry-run"):
		return "dry-run"
	}
	return "apply-and-remove"
}

// checkAnswer reports how an answer differs from what the document says.
func (s *schema) checkAnswer(heading string, output []byte) error {
	object, err := decode(output)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(output, []byte("{\n  \"schemaVersion\": ")) {
		return errors.New("it does not begin with schemaVersion")
	}
	common := make(map[string]any)
	for _, f := range s.objects[everyAnswer] {
		if value, ok := object[f.name]; ok {
			common[f.name] = value
			delete(object, f.name)
		}
	}
	return errors.Join(s.check(everyAnswer, common), s.check(heading, object))
}

// checkMessages does the same for messages, one a line.
func (s *schema) checkMessages(output []byte) error {
	var errs []error
	for line := range bytes.Lines(output) {
		object, err := decode(line)
		errs = append(errs, err, s.check("messages", object))
	}
	return errors.Join(errs...)
}

func decode(text []byte) (map[string]any, error) {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("not an object: %w", err)
	}
	if decoder.More() {
		return nil, errors.New("there is more than an object")
	}
	return object, nil
}

// check compares an object with the table below a heading.
func (s *schema) check(heading string, object map[string]any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkObject(heading, object)
}

func (s *schema) checkObject(heading string, object map[string]any) error {
	var errs []error
	known := make(map[string]bool)
	for _, f := range s.objects[heading] {
		known[f.name] = true
		name := heading + "." + f.name
		value, ok := object[f.name]
		if !ok {
			s.absent[name] = true
			if f.always {
				errs = append(errs, fmt.Errorf("%s is always there, but not in %v", name, object))
			}
			continue
		}
		s.seen[name] = true
		errs = append(errs, s.checkValue(name, f, value))
	}
	for name := range object {
		if !known[name] {
			errs = append(errs, fmt.Errorf("%s.%s is not documented", heading, name))
		}
	}
	return errors.Join(errs...)
}

func (s *schema) checkValue(name string, f field, value any) error {
	if !f.list {
		return s.checkOne(name, f, value)
	}
	list, ok := value.([]any)
	if !ok {
		return fmt.Errorf("%s is no list: %v", name, value)
	}
	var errs []error
	for _, each := range list {
		errs = append(errs, s.checkOne(name, f, each))
	}
	return errors.Join(errs...)
}

func (s *schema) checkOne(name string, f field, value any) error {
	text, ok := "", false
	switch value := value.(type) {
	case string:
		text, ok = value, f.kind == "string"
	case bool:
		ok = f.kind == "boolean"
	case json.Number:
		_, err := strconv.ParseUint(value.String(), 10, 64)
		text, ok = value.String(), f.kind == "number" && err == nil
	case map[string]any:
		if f.kind == "object" {
			return s.checkObject(f.object, value)
		}
	}
	if !ok {
		return fmt.Errorf("%s is no %s: %v", name, f.kind, value)
	}
	if len(f.values) > 0 {
		s.seen[name+"="+text] = true
		if !slices.Contains(f.values, text) {
			return fmt.Errorf("%s: the value %q is not documented", name, text)
		}
	}
	return nil
}

// unseen returns what the document has and no output had: fields, values of fields, and
// the absence of those that are not always there.
func (s *schema) unseen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	want := func(seen map[string]bool, key, what string) {
		if !seen[key] {
			all = append(all, key+what)
		}
	}
	for heading, fields := range s.objects {
		for _, f := range fields {
			name := heading + "." + f.name
			want(s.seen, name, "")
			for _, value := range f.values {
				want(s.seen, name+"="+value, "")
			}
			if !f.always {
				want(s.absent, name, ", left out")
			}
		}
	}
	slices.Sort(all)
	return all
}
