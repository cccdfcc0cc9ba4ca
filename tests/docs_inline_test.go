package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	span   = regexp.MustCompile("`([^`]+)`")
	// setting is an environment variable before a command.
	setting = regexp.MustCompile(`^[A-Z_]+=`)
	// stands is a word that stands for others: ADDRESS:PORT, or one|another.
	stands = regexp.MustCompile(`^[A-Z:]+$|\|`)
)

// TestInlineCommands checks the commands in the running text of the documents. Those
// of which no more can be told are in a block too, which TestDocuments runs.
func TestInlineCommands(t *testing.T) {
	t.Parallel()
	shown := shownCommands(t)
	inBlock := func(words []string) error {
		if i := slices.IndexFunc(words, stands.MatchString); i >= 0 {
			words = words[:i]
		}
		command := strings.Join(words, " ")
		if !strings.Contains(shown, command+" ") && !strings.Contains(shown, command+"\n") {
			return errors.New("no block of any document shows it at work")
		}
		return nil
	}
	checks := map[string]func(words []string) error{
		"go": checkGoTest, "make": checkMake, "man": checkMan, "kubectl": checkKustomize,
		"meshtables": inBlock, "nft": inBlock, "iptables": inBlock,
	}
	seen := make(map[string]bool)
	for _, path := range documents(t) {
		text := strings.ReplaceAll(fenced.ReplaceAllString(readDocument(t, path), ""), `\|`, "|")
		for _, m := range span.FindAllStringSubmatch(text, -1) {
			words := strings.Fields(m[1])
			program := slices.IndexFunc(words, func(w string) bool { return !setting.MatchString(w) })
			if program < 0 || len(words[program:]) < 2 {
				continue
			}
			check, ok := checks[words[program]]
			if !ok {
				continue
			}
			seen[words[program]] = true
			if err := check(words); err != nil {
				t.Errorf("%s: %s: %v", path, m[1], err)
			}
		}
	}
	for program := range checks {
		if !seen[program] {
			t.Errorf("no document has a command of %s, which this test knows", program)
		}
	}
}

// shownCommands returns the commands of all blocks that are run.
func shownCommands(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, path := range documents(t) {
		blocks, err := parseBlocks(readDocument(t, path))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.language != "console" && b.of == "" {
				continue
			}
			steps, err := b.steps()
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range steps {
				all.WriteString(s.command + "\n")
			}
		}
	}
	return all.String()
}

// checkGoTest checks a run of tests: the package is there, and so are the test, the
// benchmark and the environment variable that it names.
func checkGoTest(words []string) error {
	i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "./") })
	if i < 0 {
		return errors.New("it names no package")
	}
	folder := words[i]
	sources, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil || len(sources) == 0 {
		return fmt.Errorf("%s has no tests, %v", folder, err)
	}
	var text strings.Builder
	for _, path := range sources {
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text.Write(source)
	}
	for i, word := range words {
		var want string
		switch {
		case setting.MatchString(word):
			name, _, _ := strings.Cut(word, "=")
			want = `Getenv\("` + name + `"\)|= "` + name + `"`
		case word == "-run" && words[i+1] != "none":
			want = `\nfunc Test\w*` + strings.TrimPrefix(words[i+1], "Test")
		case word == "-bench":
			want = `\nfunc Benchmark\w*` + words[i+1]
		default:
			continue
		}
		if !regexp.MustCompile(want).MatchString(text.String()) {
			return fmt.Errorf("%s has nothing for %s", folder, word)
		}
	}
	return nil
}

func checkMake(words []string) error {
	out, err := exec.Command("make", append([]string{"-C", "..", "--dry-run"}, words[1:]...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// checkMan checks that the page is there. What is in it is seen by TestManualExamples
// and by the tests of cmd/meshtables.
func checkMan(words []string) error {
	_, err := os.Stat(filepath.Join("..", words[len(words)-1]))
	return err
}

// checkKustomize checks that the folder is there. TestExample in tests/container builds
// it.
func checkKustomize(words []string) error {
	_, err := os.Stat(filepath.Join("..", words[len(words)-1], "kustomization.yaml"))
	return err
}
