package xtables

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/internal/nstest"
)

// onPath makes PATH a directory that holds links from names to programs that
// are installed: "ip6tables-save=xtables-legacy-multi". The programs know by
// their name what to do.
func onPath(t *testing.T, links ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, link := range links {
		name, program, _ := strings.Cut(link, "=")
		target, err := realExecer{}.find(program)
		if err != nil {
			nstest.Missing(t, "the test needs the iptables programs: %v", err)
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func links(program string, names ...string) []string {
	var links []string
	for _, name := range names {
		for _, suffix := range []string{"", "-save", "-restore"} {
			links = append(links, name+suffix+"="+program)
		}
	}
	return links
}

const (
	nftProgram    = "xtables-nft-multi"
	legacyProgram = "xtables-legacy-multi"
)

// Where there are no programs, the message tells what was looked for and where,
// and what to do.
func TestNotFound(t *testing.T) {
	dir := onPath(t)
	for v, looked := range map[Variant]string{
		NFT: "iptables-nft or iptables", Legacy: "iptables-legacy or iptables", Any: "for iptables with",
	} {
		_, err := Find(t.Context(), nstest.Here(t), owned, v, Options{})
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %v", v, err)
			continue
		}
		for _, want := range []string{looked, dir, "\nhint: install the package iptables"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is missing from %q", v, want, err)
			}
		}
	}
}

// The plain names serve for the variant that they are of, and for no other.
func TestPlainNames(t *testing.T) {
	for program, variant := range map[string]Variant{nftProgram: NFT, legacyProgram: Legacy} {
		t.Run(string(variant), func(t *testing.T) {
			dir := onPath(t, links(program, "iptables", "ip6tables")...)
			for _, v := range []Variant{Any, variant} {
				b, err := Find(t.Context(), nstest.Here(t), owned, v, Options{})
				if err != nil {
					t.Errorf("%s: %v", v, err)
					continue
				}
				if b.Name() != string(v) || b.Variant() != variant {
					t.Errorf("got %s of variant %s, want %s of %s", b.Name(), b.Variant(), v, variant)
				}
				if got, want := b.programs[iptables.IPv6].restore, filepath.Join(dir, "ip6tables-restore"); got != want {
					t.Errorf("IPv6: got %s, want %s", got, want)
				}
				if !strings.HasPrefix(b.String(), dir+"/iptables 1.") {
					t.Errorf("String: got %q", b)
				}
			}
			other := NFT
			if variant == NFT {
				other = Legacy
			}
			if _, err := Find(t.Context(), nstest.Here(t), owned, other, Options{}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "is "+string(variant)) {
				t.Errorf("%s: got %v", other, err)
			}
		})
	}
}

// A name of its own is preferred to the plain one.
func TestOwnNameFirst(t *testing.T) {
	onPath(t, slices.Concat(links(legacyProgram, "iptables", "ip6tables"), links(nftProgram, "iptables-nft", "ip6tables-nft"))...)
	b, err := Find(t.Context(), nstest.Here(t), owned, NFT, Options{})
	if err != nil || filepath.Base(b.programs[iptables.IPv4].save) != "iptables-nft-save" {
		t.Errorf("got %v, %v", b, err)
	}
}

// Programs that would read one variant and write the other are refused.
func TestMixedVariants(t *testing.T) {
	onPath(t, "iptables="+nftProgram, "iptables-save="+nftProgram, "iptables-restore="+legacyProgram)
	_, err := Find(t.Context(), nstest.Here(t), owned, Any, Options{})
	if err == nil || !strings.Contains(err.Error(), "\nhint: choose --backend=iptables-nft or --backend=iptables-legacy") {
		t.Errorf("got %v", err)
	}
}

// Without programs for IPv6, IPv4 works, and rules for IPv6 are refused before
// anything is written.
func TestNoIPv6Programs(t *testing.T) {
	nstest.Enter(t)
	onPath(t, links(nftProgram, "iptables-nft")...)
	b, err := Find(t.Context(), nstest.Here(t), owned, NFT, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Missing(iptables.IPv6); !errors.Is(err, ErrNotFound) {
		t.Errorf("Missing: got %v", err)
	}
	err = b.Replace(t.Context(), found(t, b), parse(t, redirect, redirect))
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "IPv6 rules are wanted") {
		t.Errorf("Replace: got %v", err)
	}
	if rs := load(t, b); len(rs.Tables) != 0 {
		t.Errorf("got rules:\n%s", rs.Save(iptables.IPv4))
	}
	replace(t, b, parse(t, redirect, ""))
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]version{
		"iptables v1.8.9 (nf_tables)\n":         {1, 8, 9},
		"ip6tables v1.8.10 (legacy)\n":          {1, 8, 10},
		"iptables v1.4.21\n":                    {1, 4, 21},
		"iptables: not found":                   {},
		"iptables v1.8":                         {},
		"iptables v1.8.99999999999999999999999": {},
		"":                                      {},
	} {
		if got, ok := parseVersion(said); got != want || ok != (want != version{}) {
			t.Errorf("%q: got %s, %t", said, got, ok)
		}
	}
}

// What has the name of the programs but cannot say its version is not used, nor passed
// over for one of another name.
func TestNoVersion(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for script, want := range map[string]string{
		"echo hello":                           `iptables-nft cannot be run: "hello" is not a version of iptables`,
		"echo 'no such library' >&2; exit 127": "iptables-nft cannot be run: iptables-nft: no such library",
	} {
		for _, name := range []string{"iptables-nft", "iptables-nft-save", "iptables-nft-restore"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Find(t.Context(), nstest.Here(t), owned, NFT, Options{}); err == nil || !strings.HasSuffix(err.Error(), want) || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %v, want %s", script, err, want)
		}
	}
}

// Programs too old to bound their waiting are not asked to.
func TestWaitArgs(t *testing.T) {
	t.Parallel()
	b := &Backend{lockWait: DefaultLockWait}
	for v, want := range map[version]string{{1, 6, 1}: "", {1, 6, 2}: "-w 10", {1, 8, 9}: "-w 10", {2, 0, 0}: "-w 10", {1, 4, 21}: ""} {
		if got := strings.Join(b.waitArgs(v), " "); got != want {
			t.Errorf("%s: got %q, want %q", v, got, want)
		}
	}
}
