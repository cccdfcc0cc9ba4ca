package main

import (
	"slices"
	"strings"
	"testing"
)

// A verb is understood wherever it stands, but the value of an option is none.
func TestSplitVerb(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]struct{ verb, rest string }{
		"":                              {"", ""},
		"verify -p 15001":               {"verify", "-p 15001"},
		"-p 15001 verify":               {"verify", "-p 15001"},
		"-p15001 verify --ipv6=off":     {"verify", "-p15001 --ipv6=off"},
		"--backend=nftables show":       {"show", "--backend=nftables"},
		"--envoy-port 15001 show":       {"show", "--envoy-port 15001"},
		"--probe-timeout 5s verify":     {"verify", "--probe-timeout 5s"},
		"--live explain in :80":         {"explain", "--live in :80"},
		"-vO json show":                 {"show", "-vO json"},
		"--log_target x istio-iptables": {"istio-iptables", "--log_target x"},
		"-envoy-port 15001 show":        {"show", "-envoy-port 15001"},
		"-v verify show":                {"verify", "-v show"},
		"-u verify":                     {"", "-u verify"},
		"-vu verify -d 80":              {"", "-vu verify -d 80"},
		"--proxy-uid verify":            {"", "--proxy-uid verify"},
		"--proxy-uid verify verify":     {"verify", "--proxy-uid verify"},
		"-d 80 443 verify":              {"", "-d 80 443 verify"},
		"-p 15001 -- verify":            {"", "-p 15001 -- verify"},
		"--unknown verify":              {"verify", "--unknown"},
	} {
		v, rest := splitVerb(strings.Fields(line))
		if v.name != want.verb || !slices.Equal(rest, strings.Fields(want.rest)) {
			t.Errorf("%s: verb %q, rest %q", line, v.name, rest)
		}
	}
	if v, rest := splitVerb([]string{"-x", "", "show"}); v.name != "show" || len(rest) != 2 {
		t.Errorf("after an empty value: verb %q, rest %q", v.name, rest)
	}
}

// A value after a switch is found only where the switch has none.
func TestCheckSwitches(t *testing.T) {
	t.Parallel()
	const hint = " takes no separate value\nhint: a switch and its value are one word: "
	for line, want := range map[string]string{
		"--redirect-dns yes":         "--redirect-dns" + hint + "--redirect-dns=true",
		"--redirect-dns 1":           "--redirect-dns" + hint + "--redirect-dns=true",
		"--log_as_json on":           "--log_as_json" + hint + "--log_as_json=true",
		"-vn off":                    "-vn" + hint + "--dry-run=false",
		"--live no in :80":           "--live" + hint + "--live=false",
		"-d 1 --comments 0 -n false": "--comments" + hint + "--comments=false\n-n" + hint + "--dry-run=false",
		"--redirect-dns":             "",
		"--redirect-dns=true yes":    "",
		"--redirect-dns maybe":       "",
		"--proxy-uid 1 0":            "",
		"-u -n yes":                  "",
		"in :80 yes":                 "",
		"--redirect-dns -- yes":      "",
	} {
		got := ""
		if err := checkSwitches(strings.Fields(line)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

// One dash before a long name is told, and read as two. Letters with a value are left.
func TestAddDashes(t *testing.T) {
	t.Parallel()
	const hint = ": long options take two dashes\nhint: write "
	for line, test := range map[string]struct{ fixed, err string }{
		"-outbound-port 15001":                   {"--outbound-port 15001", "-outbound-port" + hint + "--outbound-port"},
		"-envoy-port=1 -live":                    {"--envoy-port=1 --live", "-envoy-port" + hint + "--envoy-port\n-live" + hint + "--live"},
		"-config x -version":                     {"--config x --version", "-config" + hint + "--config\n-version" + hint + "--version"},
		"in :80 -uid 5":                          {"in :80 --uid 5", "-uid" + hint + "--uid"},
		"-help":                                  {"-help", ""},
		"-p15001 -vOjson -uroot -ceth0 -mTPROXY": {"-p15001 -vOjson -uroot -ceth0 -mTPROXY", ""},
		"-u -outbound-port":                      {"-u -outbound-port", ""},
		"--proxy-uid -mode -- -mode":             {"--proxy-uid -mode -- -mode", ""},
		"-banana -y -":                           {"-banana -y -", ""},
	} {
		fixed, err := addDashes(strings.Fields(line))
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got := strings.Join(fixed, " "); got != test.fixed || message != test.err {
			t.Errorf("%s: got %q, %q", line, got, message)
		}
	}
}
