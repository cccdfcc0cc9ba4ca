package iptables

import (
	"fmt"
	"strings"
	"testing"
)

func TestOriginAsComment(t *testing.T) {
	ports := make([]string, 100)
	for i := range ports {
		ports[i] = fmt.Sprint(10000 + i)
	}
	for name, test := range map[string]struct {
		origin Origin
		limit  int
		want   string
	}{
		"whole":             {Origin{"--excluded-ports", "80,443"}, 23, "--excluded-ports=80,443"},
		"one byte less":     {Origin{"--excluded-ports", "80,443"}, 22, "--excluded-ports"},
		"no value":          {Origin{"--drop-invalid", ""}, 14, "--drop-invalid"},
		"built-in":          {Origin{BuiltIn, "outbound"}, MaxComment, "built-in (outbound)"},
		"list":              {Origin{"--excluded-ports", strings.Join(ports, ",")}, 50, "--excluded-ports=10000,10001,... (100 values)"},
		"list cut before":   {Origin{"--excluded-ports", ShortList(ports, 8)}, 50, "--excluded-ports=10000,10001,... (100 values)"},
		"no room for one":   {Origin{"--excluded-ports", strings.Join(ports, ",")}, 30, "--excluded-ports"},
		"none for the rest": {Origin{"--excluded-ports", "80"}, 5, "--exc"},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.origin.Comment(test.limit)
			if got != test.want || len(got) > test.limit {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestParseOrigin(t *testing.T) {
	for text, want := range map[string]Origin{
		"--excluded-ports=80,443":  {"--excluded-ports", "80,443"},
		"--drop-invalid":           {"--drop-invalid", ""},
		"built-in (passthrough)":   {BuiltIn, "passthrough"},
		"--x=a=b":                  {"--x", "a=b"},
		"--ports=1,... (9 values)": {"--ports", "1,... (9 values)"},
	} {
		got, ok := ParseOrigin(text)
		if !ok || got != want || got.String() != text {
			t.Errorf("%q: got %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "built-in", "built-in (x", "built-in ()", "by hand", "-x", "--x=", "excluded-ports=1"} {
		if got, ok := ParseOrigin(text); ok {
			t.Errorf("%q: got %q", text, got)
		}
	}
}
