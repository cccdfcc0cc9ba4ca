package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is read of an option is known by where it was given.
func TestReading(t *testing.T) {
	t.Parallel()
	const (
		variable = "MESHTABLES_EXCLUDED_PORTS=2"
		file     = "excluded-ports: 3"
		note     = `example.org/excluded="4"`
	)
	for name, test := range map[string]struct {
		args, env  []string
		file, note string
		value      string
		want       Given
	}{
		"flag":        {[]string{"--excluded-ports=1"}, []string{variable}, file, note, "1", Given{ByFlag, "--excluded-ports", "1"}},
		"environment": {nil, []string{variable}, file, note, "2", Given{ByEnvironment, "environment variable MESHTABLES_EXCLUDED_PORTS", "2"}},
		"file":        {nil, nil, file, note, "3", Given{ByFile, "configuration file f, line 1, excluded-ports", "3"}},
		"annotation":  {nil, nil, "", note, "4", Given{ByAnnotation, "annotation example.org/excluded", "4"}},
		"nowhere":     {nil, []string{"MESHTABLES_EXCLUDED_PORTS="}, "", "", "", Given{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, flags, p := newFlags()
			if err := errors.Join(fs.Parse(test.args), flags.AddFile("f", []byte(test.file))); err != nil {
				t.Fatal(err)
			}
			r := flags.Read(Sources{Env: test.env, Annotations: []byte(test.note)})
			if r.Err() != nil || r.Warnings() != nil {
				t.Fatalf("error %v, warnings %q", r.Err(), r.Warnings())
			}
			if got := Ports(&p.excluded).String(); got != test.value {
				t.Errorf("value %q, want %q", got, test.value)
			}
			g := r.Given("excluded-ports")
			if diff := cmp.Diff(test.want, g); diff != "" {
				t.Error(diff)
			}
			if g.IsExplicit() != (name != "nowhere") || g.IsBlank() != (name == "nowhere") {
				t.Errorf("explicit %v, blank %v", g.IsExplicit(), g.IsBlank())
			}
		})
	}
}

// A policy reads what belongs to no option of it, and adds to errors and warnings.
func TestReadingBesideOptions(t *testing.T) {
	t.Parallel()
	_, flags, _ := newFlags()
	r := flags.Read(Sources{
		Env: []string{"WHO=me", "NOBODY=", "INVALID_DROP=x", "ENVOY_PORT=tcp://10.0.0.1:80"},
		Annotations: []byte("example.org/excluded=\"1,1\"\nexample.org/z=\"\"\nexample.org/exclude=\"2\"\nother.org/x=\"3\"\n" +
			"bad\n"),
	})
	if g, ok := r.Variable("WHO"); !ok || g.String() != `environment variable WHO "me"` {
		t.Errorf("variable: %v, %v", g, ok)
	}
	if _, ok := r.Variable("NOBODY"); ok {
		t.Error("a variable that is empty is given")
	}
	if g, ok := r.Annotation("example.org/z"); !ok || g.Text != "" {
		t.Errorf("annotation: %v, %v", g, ok)
	}
	var unknown []string
	for _, g := range r.UnknownAnnotations("example.org/") {
		unknown = append(unknown, g.Source)
	}
	if want := []string{"annotation example.org/exclude", "annotation example.org/z"}; !slices.Equal(unknown, want) {
		t.Errorf("unknown annotations %q, want %q", unknown, want)
	}
	r.Fail(Given{ByFlag, "--x", "1"}.Refuse(errors.New("must be 2")))
	r.Warn("%d is odd", 1)
	if diff := cmp.Diff([]string{
		`annotation file, line 5 "bad": must be key="value", quoted as the downward API does it`,
		`environment variable INVALID_DROP "x": must be true or false`,
		`--x "1": must be 2`,
	}, strings.Split(r.Err().Error(), "\n")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		`environment variable ENVOY_PORT "tcp://10.0.0.1:80" is ignored: it is the address of a Kubernetes service`,
		`annotation example.org/excluded "1,1" repeats 1, which has no effect`,
		"1 is odd",
	}, r.Warnings()); diff != "" {
		t.Error(diff)
	}
}

// Messages about files show how it is done by options that there are.
func TestFileExamples(t *testing.T) {
	t.Parallel()
	_, with, _ := newFlags()
	_, without := newFlagsOf(nil)
	for text, want := range map[string]struct{ with, without string }{
		"- a":  {`must be options with their values, such as "mode: TPROXY"`, "must be options with their values"},
		"a: *": {`a * has to be in quotes, as in included-ports: "*" (line 1)`, "a * has to be in quotes (line 1)"},
	} {
		if err := with.AddFile("f", []byte(text)); err == nil || !strings.HasSuffix(err.Error(), want.with) {
			t.Errorf("%s: %v, want %s", text, err, want.with)
		}
		if err := without.AddFile("f", []byte(text)); err == nil || !strings.HasSuffix(err.Error(), want.without) {
			t.Errorf("%s: %v, want %s", text, err, want.without)
		}
	}
}
