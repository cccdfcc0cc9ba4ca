package pod

import (
	"testing"

	"github.com/meshtables/meshtables/iptables"
	"github.com/meshtables/meshtables/iptables/capture/sidecar"
	"github.com/meshtables/meshtables/iptables/installed"
	"github.com/meshtables/meshtables/iptables/kernel"
)

// holding returns what a form has, ours or of others.
func holding(f installed.Form, chain string) installed.Backend {
	table := iptables.NewTable(iptables.IPv4, iptables.Nat)
	table.Append(chain, iptables.Rule{Target: iptables.Return})
	return installed.Backend{
		Name: string(f), Form: f, Rules: iptables.Ruleset{Tables: []iptables.Table{table}}, Ownership: sidecar.Ownership(),
	}
}

// What is compared, and what is explained, follows from where rules of ours are.
func TestWhichBackend(t *testing.T) {
	t.Parallel()
	const own, other = "ISTIO_OUTPUT", iptables.Output
	nft, native, legacy := installed.NFT, installed.Native, installed.Legacy
	for name, test := range map[string]struct {
		backends          []installed.Backend
		withoutNFTables   bool
		compared, explain installed.Form
	}{
		"nothing":                   {nil, false, nft, nft},
		"nothing, without nftables": {nil, true, legacy, legacy},
		"of others only":            {[]installed.Backend{holding(native, other), holding(legacy, other)}, false, nft, nft},
		"iptables' form":            {[]installed.Backend{holding(nft, own)}, false, nft, nft},
		"the native form":           {[]installed.Backend{holding(nft, other), holding(native, own)}, false, native, native},
		"both forms":                {[]installed.Backend{holding(nft, own), holding(native, own)}, false, nft, nft},
		"legacy tables":             {[]installed.Backend{holding(legacy, own)}, false, nft, legacy},
		"legacy tables alone":       {[]installed.Backend{holding(legacy, own)}, true, legacy, legacy},
		"native and legacy":         {[]installed.Backend{holding(native, own), holding(legacy, own)}, false, native, native},
	} {
		f := Found{Installed: kernel.Installed{
			Namespace: installed.Namespace{Backends: test.backends}, HasNFTables: !test.withoutNFTables,
		}}
		f.Ours = f.Own()
		if got := f.Compared().Form; got != test.compared {
			t.Errorf("%s: %s is compared, want %s", name, got, test.compared)
		}
		if got := f.Live().Form; got != test.explain {
			t.Errorf("%s: %s is explained, want %s", name, got, test.explain)
		}
	}
}
