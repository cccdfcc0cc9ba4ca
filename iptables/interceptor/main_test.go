package interceptor_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/meshtables/meshtables/iptables/interceptor"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// reader is the variable by which a copy of the test is told to read, and to print what it finds.
// processes has the process whose cgroup it looks at, instead of its own.
const (
	reader    = "MESHTABLES_TEST_READER"
	processes = "MESHTABLES_TEST_PROCESSES"
)

func TestMain(m *testing.M) {
	if os.Getenv(reader) == "" {
		os.Exit(m.Run())
	}
	ns := namespace.Own()
	defer ns.Close()
	found := new(interceptor.Reader).ReadOf(context.Background(), ns, []string{cmp.Or(os.Getenv(processes), "/proc/self")})
	for _, p := range found.Programs {
		fmt.Println(&p)
	}
	for _, text := range found.Unread {
		fmt.Println(text)
	}
}

// helper returns a copy of the test that reads where it runs, behind words that start it.
func helper(t *testing.T, words []string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(words[0], append(words[1:], program)...)
	cmd.Env = append(os.Environ(), reader+"=1")
	return cmd
}
