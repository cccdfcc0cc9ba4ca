package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// documents returns those whose blocks are checked, as paths from here.
func documents(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"../docs/*.md", "../deploy/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	return append(paths, "../README.md", "../CHANGELOG.md")
}

// TestDocuments runs every command of every document, those of one document one
// after the other by one shell in a pod of its own, and compares what each prints.
// A command that fails has to be followed by "echo $?". With -update it writes the
// outputs anew where no placeholder is in them.
//
// The languages of blocks are:
//
//	console  commands with their output
//	sh       commands of make; see makeBlock
//	yaml     has to be YAML, and what in it is for meshtables has to be accepted;
//	         where Istio's injector gives the arguments, with these
//	text     has no command
//
// and any other for a block that is the output of a command; see block.
func TestDocuments(t *testing.T) {
	t.Parallel()
	for _, path := range documents(t) {
		t.Run(strings.TrimPrefix(path, "../"), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			blocks, err := parseBlocks(string(text))
			if err != nil {
				t.Fatal(err)
			}
			var session []step
			for _, b := range blocks {
				switch {
				case b.language == "console" || b.of != "":
					steps, err := b.steps()
					if err != nil {
						t.Fatal(err)
					}
					session = append(session, steps...)
				case b.language == "sh":
					makeBlock(t, folder, b)
				case b.language == "yaml":
					session = append(session, yamlSteps(t, b)...)
				case b.language == "text":
					if steps, err := b.steps(); err == nil {
						t.Errorf("line %d: %s: a command has to be in a block of console", b.line, steps[0].command)
					}
				default:
					t.Errorf("line %d: it is not known how to check a block of %q", b.line, b.language)
				}
			}
			if len(session) > 0 {
				checkSession(t, folder, path, session)
			}
		})
	}
}

// checkSession runs the steps and compares their outputs.
func checkSession(t *testing.T, folder, path string, session []step) {
	t.Helper()
	results := runSession(t, folder, path, session)
	replaced := make(map[int][]string)
	for i, s := range session {
		r := results[i]
		if r.status != 0 && (i+1 == len(session) || session[i+1].command != "echo $?") {
			t.Errorf("%s:%d: %s: exit status %d, which the document has to show", path, s.line-1, s.command, r.status)
		}
		if s.matches(r.output) {
			continue
		}
		if *update && s.line > 0 && !strings.Contains(strings.Join(s.output, "\n"), placeholder) {
			replaced[i] = strings.Split(strings.TrimSuffix(r.output, "\n"), "\n")
			continue
		}
		t.Errorf("%s:%d: %s\nprinted\n%swant\n%s", path, s.line-1, s.command, r.output, strings.Join(s.output, "\n"))
	}
	if len(replaced) > 0 {
		rewrite(t, path, session, replaced)
	}
}

// rewrite puts other outputs into a document.
func rewrite(t *testing.T, path string, session []step, replaced map[int][]string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, s := range slices.Backward(session) {
		if output, ok := replaced[i]; ok {
			lines = slices.Replace(lines, s.line-1, s.line-1+len(s.output), output...)
		}
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
}

// yamlSteps checks that a block is YAML, without keys that are given twice, and
// returns dry runs of the program with what in it is for the program: the arguments
// of its containers, or, where the block is nothing of Kubernetes, a configuration file.
func yamlSteps(t *testing.T, b block) []step {
	t.Helper()
	text := strings.Join(b.text, "\n")
	var document map[string]any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Errorf("line %d: %v", b.line, err)
	}
	steps := containerSteps(t, b, document)
	if _, isObject := document["kind"]; len(steps) == 0 && !isObject {
		write := "cat >config.yaml <<'END'\n" + text + "\nEND\n"
		steps = append(steps, step{command: write + dryRun("--config=config.yaml")})
	}
	return steps
}

// containerSteps returns a dry run for each container of meshtables in a value of YAML.
func containerSteps(t *testing.T, b block, value any) []step {
	t.Helper()
	var steps []step
	switch value := value.(type) {
	case map[string]any:
		if image, _ := value["image"].(string); strings.Contains(image, "/meshtables") {
			args := value["args"]
			if value["name"] == "istio-init" && args == nil {
				args = injectedArgs()["proxy_init"]
			}
			steps = append(steps, step{command: "touch annotations; " + dryRun(containerArgs(t, b, args)...)})
		}
		for key, each := range value {
			if args, ok := injectedArgs()[key]; ok {
				steps = append(steps, step{command: dryRun(containerArgs(t, b, args)...)})
				continue
			}
			steps = append(steps, containerSteps(t, b, each)...)
		}
	case []any:
		for _, each := range value {
			steps = append(steps, containerSteps(t, b, each)...)
		}
	}
	return steps
}

// injectedArgs are the arguments of a mesh's init container, by the Helm value that has its
// image: as the injectors make them without any annotation or value that changes them. What
// Istio's option for logs does not do here is said, except at this level.
func injectedArgs() map[string]any {
	return map[string]any{
		"proxy_init": []any{
			"istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT",
			"-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020",
			"--log_output_level=default:info", "--log-level=warn",
		},
		"proxyInit": []any{
			"--ipv6=false", "--incoming-proxy-port", "4143", "--outgoing-proxy-port", "4140", "--proxy-uid", "2102",
			"--inbound-ports-to-ignore", "4190,4191,4567,4568", "--outbound-ports-to-ignore", "4567,4568",
		},
	}
}

// containerArgs returns the arguments of a container. The pod's annotations are at
// another place here.
func containerArgs(t *testing.T, b block, args any) []string {
	t.Helper()
	list, ok := args.([]any)
	if !ok {
		t.Errorf("line %d: a container of meshtables without a list of args", b.line)
	}
	words := make([]string, len(list))
	for i, arg := range list {
		text, ok := arg.(string)
		if !ok {
			t.Errorf("line %d: the argument %v is no text", b.line, arg)
		}
		words[i] = strings.Replace(text, "/etc/podinfo/", "", 1)
	}
	return words
}

// dryRun returns a command that has to find something to write and nothing to warn of.
func dryRun(args ...string) string {
	return "meshtables '" + strings.Join(args, "' '") + "' --dry-run >dry-run.txt && grep -q -e ISTIO_ -e PROXY_INIT_ dry-run.txt"
}
