package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/meshtables/meshtables/tests/kernels"
)

// moduleFolders are the parts of lib/modules/VERSION/kernel that the tests can need.
func moduleFolders() []string {
	return []string{"net", "lib", "crypto", "arch/x86/crypto", "drivers/net/veth.ko*", "drivers/net/dummy.ko*", "drivers/net/tun.ko*"}
}

// programs returns the programs of this machine that the tests run, by their names in the
// image. Links are followed.
func programs(k kernels.Kernel) map[string]string {
	all := map[string]string{
		"/usr/sbin/ip": "ip", "/usr/sbin/nft": "nft", "/usr/bin/setpriv": "setpriv", "/usr/bin/nsenter": "nsenter", "/usr/bin/unshare": "unshare", "/bin/mount": "mount",
		"/bin/busybox": "busybox", "/bin/sh": "dash", "/bin/cat": "busybox", "/bin/env": "busybox", "/bin/mkdir": "busybox", "/bin/touch": "busybox", "/sbin/sysctl": "busybox", "/sbin/modprobe": "busybox",
	}
	plain := "xtables-nft-multi"
	if slices.Contains(k.Without, "nf_tables") {
		plain = "xtables-legacy-multi"
	}
	for suffix, program := range map[string]string{"": plain, "-nft": "xtables-nft-multi", "-legacy": "xtables-legacy-multi"} {
		for _, family := range []string{"iptables", "ip6tables"} {
			for _, what := range []string{"", "-save", "-restore"} {
				all["/usr/sbin/"+family+suffix+what] = program
			}
		}
	}
	return all
}

// files are what programs expect in /etc, and the name of the row.
func files(k kernels.Kernel) map[string]string {
	return map[string]string{
		"/row":             k.Name,
		"/etc/passwd":      "root:x:0:0:root:/:/bin/sh\n",
		"/etc/group":       "root:x:0:\n",
		"/etc/resolv.conf": "",
		"/etc/hosts":       "127.0.0.1 localhost\n",
	}
}

// image writes the initramfs of a row: its modules, the program and its tests, and the
// programs that these run.
func image(ctx context.Context, k kernels.Kernel, kernel, built, path string) error {
	root, err := os.MkdirTemp(filepath.Dir(path), "root-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	for _, dir := range []string{"proc", "sys", "dev", "tmp", "run", "etc", "root", "bin", "sbin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := addModules(ctx, root, kernel, k.Without); err != nil {
		return err
	}
	for to, name := range programs(k) {
		if err := addProgram(ctx, root, name, to); err != nil {
			return err
		}
	}
	// iptables' extensions are loaded by their names.
	extensions, err := filepath.Glob("/usr/lib/*/xtables/*.so")
	if err != nil {
		return err
	}
	for _, from := range extensions {
		if err := copyFile(from, filepath.Join(root, from)); err != nil {
			return err
		}
	}
	for to, text := range files(k) {
		if err := os.WriteFile(filepath.Join(root, to), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "init"), []byte(initScript), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"meshtables", "tests.test"} {
		if err := copyFile(filepath.Join(built, name), filepath.Join(root, name)); err != nil {
			return err
		}
	}
	_, err = run(ctx, root, "sh", "-c", `find . | cpio --quiet -o -H newc | gzip -1 >"$0"`, path)
	return err
}

// addModules copies the modules, except those left out, and unpacks packed ones, because
// busybox cannot.
func addModules(ctx context.Context, root, kernel string, without []string) error {
	// Since trixie it is below usr.
	from, err := single(filepath.Join(kernel, "lib/modules/*"), filepath.Join(kernel, "usr/lib/modules/*"))
	if err != nil {
		return err
	}
	version := filepath.Base(from)
	to := filepath.Join(root, "lib/modules", version)
	for _, pattern := range moduleFolders() {
		found, err := filepath.Glob(filepath.Join(from, "kernel", pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := addModulesIn(ctx, from, path, to, without); err != nil {
				return err
			}
		}
	}
	for _, name := range []string{"modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	_, err = run(ctx, "", "depmod", "-b", root, version)
	return err
}

// single returns the one file that matches any of the patterns.
func single(patterns ...string) (string, error) {
	var found []string
	for _, pattern := range patterns {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		found = append(found, matches...)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("found %q by %q, want one", found, patterns)
	}
	return found[0], nil
}

func addModulesIn(ctx context.Context, base, from, to string, without []string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, _, _ := strings.Cut(entry.Name(), ".ko")
		leftOut := slices.ContainsFunc(without, func(pattern string) bool {
			matches, _ := filepath.Match(pattern, name)
			return matches
		})
		if leftOut {
			return nil
		}
		relative, err := filepath.Rel(base, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if err := copyFile(path, target); err != nil || !strings.HasSuffix(target, ".xz") {
			return err
		}
		_, err = run(ctx, "", "xz", "--decompress", target)
		return err
	})
}

// addProgram copies a program of this machine with its libraries.
func addProgram(ctx context.Context, root, name, to string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	if err := copyFile(path, filepath.Join(root, to)); err != nil {
		return err
	}
	libraries, err := run(ctx, "", "sh", "-c", `ldd "$0" || true`, path)
	if err != nil {
		return err
	}
	for _, library := range regexp.MustCompile(`/\S+\.so\S*`).FindAllString(libraries, -1) {
		if err := copyFile(library, filepath.Join(root, library)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file, or what a link leads to, with its mode.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, content, info.Mode().Perm())
}
