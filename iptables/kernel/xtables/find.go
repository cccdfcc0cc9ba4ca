package xtables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/lazy"
	"github.com/meshtables/meshtables/iptables/namespace"
)

// programs are the paths of the programs of one family and variant.
type programs struct {
	main, save, restore string
	version             version
}

// version is the version of the iptables package, such as {1, 8, 9}.
type version [3]int

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

func (v version) atLeast(major, minor, patch int) bool {
	for i, n := range [3]int{major, minor, patch} {
		if v[i] != n {
			return v[i] > n
		}
	}
	return true
}

// ErrNotFound is wrapped by errors about programs that are not installed.
var ErrNotFound = errors.New("not found")

// Find returns the backend of a variant for a network namespace. It runs programs to
// learn their versions, which touches no table. Missing programs for IPv6 are no error
// yet ([Backend.Missing]).
//
// It looks for a variant under its own name, such as iptables-nft, then for a plain
// iptables that says it is of this variant.
func Find(ctx context.Context, ns *namespace.Namespace, own iptables.Ownership, v Variant, o Options) (*Backend, error) {
	b := &Backend{
		namespace: ns, own: own, name: v, variant: v, execer: o.execer, lockWait: o.LockWait,
		programs: make(map[iptables.Family]programs),
		missing:  make(map[iptables.Family]error),
	}
	if b.execer == nil {
		b.execer = realExecer{ns}
	}
	if b.lockWait <= 0 {
		b.lockWait = DefaultLockWait
	}
	for _, family := range iptables.Families() {
		found, err := b.find(ctx, family)
		if err != nil {
			b.missing[family] = err
			continue
		}
		b.programs[family] = found
	}
	if err := b.missing[iptables.IPv4]; err != nil {
		return nil, err
	}
	return b, nil
}

// find looks for the programs of one family. Once it has found those of [Any] for IPv4, b
// looks for the same variant from then on.
func (b *Backend) find(ctx context.Context, family iptables.Family) (programs, error) {
	if b.variant != Any {
		name := strings.Replace(string(b.variant), "iptables", family.Command(), 1)
		found, err := b.lookup(ctx, name)
		if !errors.Is(err, ErrNotFound) {
			return found, err
		}
	}
	found, err := b.lookup(ctx, family.Command())
	if err != nil {
		return programs{}, b.notFound(family, err)
	}
	is, err := b.variantOf(ctx, found)
	if err != nil {
		return programs{}, err
	}
	if b.variant == Any {
		b.variant = is
	}
	if b.variant != is {
		return programs{}, b.notFound(family, fmt.Errorf("%w: %s is %s", ErrNotFound, found.main, is))
	}
	return found, nil
}

func (b *Backend) notFound(family iptables.Family, err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	looked := family.Command()
	if b.variant != Any {
		looked = strings.Replace(string(b.variant), "iptables", family.Command(), 1) + " or " + looked
	}
	return fmt.Errorf("%w (looked for %s with its -save and -restore in %s)\n"+
		"hint: install the package iptables, or choose another --backend",
		err, looked, strings.Join(filepath.SplitList(os.Getenv("PATH")), ", "))
}

func (b *Backend) lookup(ctx context.Context, name string) (programs, error) {
	var paths [3]string
	for i, program := range []string{name, name + "-save", name + "-restore"} {
		path, err := b.execer.find(program)
		if err != nil {
			return programs{}, err
		}
		paths[i] = path
	}
	if err := ctx.Err(); err != nil {
		return programs{}, err
	}
	found, err := b.versionOf(ctx, paths[0])
	if err != nil {
		return programs{}, fmt.Errorf("%s cannot be run: %w", paths[0], err)
	}
	return programs{paths[0], paths[1], paths[2], found}, nil
}

func (b *Backend) versionOf(ctx context.Context, path string) (version, error) {
	out, err := b.execer.run(ctx, command{path: path, args: []string{"--version"}})
	if err != nil {
		return version{}, err
	}
	v, ok := parseVersion(out)
	if !ok {
		return version{}, fmt.Errorf("%q is not a version of iptables", strings.TrimSpace(out))
	}
	return v, nil
}

// saidVersion is in what --version prints, such as "iptables v1.8.9 (nf_tables)".
var saidVersion = lazy.Regexp(`v(\d+)\.(\d+)\.(\d+)`)

func parseVersion(said string) (v version, ok bool) {
	numbers := saidVersion().FindStringSubmatch(said)
	if numbers == nil {
		return version{}, false
	}
	for i := range v {
		var err error
		if v[i], err = strconv.Atoi(numbers[i+1]); err != nil {
			return version{}, false
		}
	}
	return v, true
}

// variantOf asks programs with the plain name which variant they are. All have to agree:
// reading one variant and writing the other would never end.
func (b *Backend) variantOf(ctx context.Context, p programs) (Variant, error) {
	// There was only one variant (iptables 1.8.0, release notes).
	if !p.version.atLeast(1, 8, 0) {
		return Legacy, nil
	}
	var variant Variant
	for _, path := range []string{p.main, p.save, p.restore} {
		out, err := b.execer.run(ctx, command{path: path, args: []string{"--version"}})
		if err != nil {
			return "", err
		}
		is := Legacy
		if strings.Contains(out, "(nf_tables)") {
			is = NFT
		}
		if variant != "" && variant != is {
			return "", fmt.Errorf("%s is %s, but %s is %s\n"+
				"hint: choose --backend=%s or --backend=%s", p.main, variant, path, is, NFT, Legacy)
		}
		variant = is
	}
	return variant, nil
}

// waitArgs returns the arguments that limit how long a restore program waits for the
// lock. They came with 1.6.2; older programs do not wait.
func (b *Backend) waitArgs(v version) []string {
	if !v.atLeast(1, 6, 2) {
		return nil
	}
	seconds := (b.lockWait + time.Second - 1) / time.Second
	return []string{"-w", fmt.Sprint(int(seconds))}
}

// lookPath finds a program as a shell does.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s: %w", name, ErrNotFound)
	}
	return path, err
}
