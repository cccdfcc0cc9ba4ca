// Sbom prints the contents of programs that the go command has built, as SPDX 2.3 in JSON
// (https://spdx.github.io/spdx-spec/v2.3/): the program, the modules linked into it, and
// the version of Go. Usage:
//
//	go run ./scripts/sbom PROGRAM [PROGRAM ...]
//
// Everything comes from what the go command wrote into the programs (go version -m), so
// the same programs give the same bytes.
package main

import (
	"cmp"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime/debug"
	"slices"

	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

func run(paths []string, w io.Writer) error {
	if len(paths) == 0 {
		return errors.New("usage: sbom PROGRAM [PROGRAM ...]")
	}
	var programs []*debug.BuildInfo
	for _, path := range paths {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return err
		}
		programs = append(programs, info)
	}
	return json.Write(document(programs), w, json.Indent("  "))
}

// document describes programs of one version. They differ only in architecture and so, at
// most, in their modules.
func document(programs []*debug.BuildInfo) *spdx.Document {
	first := programs[0]
	program := newPackage(first.Main.Path, first.Main.Version)
	program.PackageLicenseDeclared, program.PackageLicenseConcluded = "Apache-2.0", "Apache-2.0"
	packages := []*spdx.Package{program, newPackage("stdlib", first.GoVersion)}
	for _, p := range programs {
		for _, module := range p.Deps {
			packages = append(packages, newPackage(module.Path, module.Version))
		}
	}
	slices.SortFunc(packages[1:], func(a, b *spdx.Package) int {
		return cmp.Compare(a.PackageSPDXIdentifier, b.PackageSPDXIdentifier)
	})
	packages = slices.CompactFunc(packages, func(a, b *spdx.Package) bool {
		return a.PackageSPDXIdentifier == b.PackageSPDXIdentifier
	})
	return &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      "meshtables " + first.Main.Version,
		DocumentNamespace: "https://" + first.Main.Path + "/releases/" + first.Main.Version + "/" + setting(first, "vcs.revision"),
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "meshtables-scripts-sbom"}},
			Created:  setting(first, "vcs.time"),
		},
		Packages:      packages,
		Relationships: relationships(packages),
	}
}

// newPackage describes a module; its purl is that of
// https://github.com/package-url/purl-spec.
func newPackage(path, version string) *spdx.Package {
	return &spdx.Package{
		PackageName: path, PackageVersion: version, PackageSPDXIdentifier: identifier(path, version),
		PackageDownloadLocation: "NOASSERTION", PackageLicenseDeclared: "NOASSERTION",
		PackageLicenseConcluded: "NOASSERTION", PackageCopyrightText: "NOASSERTION",
		PackageExternalReferences: []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL,
			Locator: "pkg:golang/" + path + "@" + version,
		}},
	}
}

// identifier returns an id of only the characters that SPDX allows (clause 7.2).
func identifier(path, version string) common.ElementID {
	name := regexp.MustCompile(`[^A-Za-z0-9.-]`).ReplaceAllString(path+"-"+version, "-")
	return common.ElementID("Package-" + name)
}

// relationships say that the document is about the first package, and that this one
// depends on the others.
func relationships(packages []*spdx.Package) []*spdx.Relationship {
	program := common.MakeDocElementID("", string(packages[0].PackageSPDXIdentifier))
	all := []*spdx.Relationship{{
		RefA: common.MakeDocElementID("", "DOCUMENT"), RefB: program, Relationship: common.TypeRelationshipDescribe,
	}}
	for _, p := range packages[1:] {
		all = append(all, &spdx.Relationship{
			RefA: program, RefB: common.MakeDocElementID("", string(p.PackageSPDXIdentifier)),
			Relationship: common.TypeRelationshipDependsOn,
		})
	}
	return all
}

// setting returns what the go command was told or found out, such as the commit.
func setting(info *debug.BuildInfo, key string) string {
	for _, s := range info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}
