package tests

import (
	"net/netip"
	"testing"
)

// TestNeighbours has the rules that usually are in the same namespace: every connection
// arrives, and nothing raises an alarm.
func TestNeighbours(t *testing.T) { testHarms(t, neighbours()) }

func neighbours() []harm {
	rows := []harm{
		{name: "a log", commands: "ipt -t nat -I OUTPUT -j LOG --log-prefix x\nipt -t mangle -I PREROUTING -j NFLOG --nflog-group 3\nipt -A INPUT -m limit --limit 1/min -j LOG"},
		{name: "counters", commands: "ipt -t raw -I PREROUTING\nipt -t nat -I OUTPUT -p tcp --dport 80\nipt -A INPUT -p tcp --dport 15006"},
		{name: "kube-proxy", commands: `
			ipt -t nat -N KUBE-SERVICES
			ipt -t nat -N KUBE-NODEPORTS
			ipt -t nat -N KUBE-POSTROUTING
			ipt -t nat -N KUBE-MARK-MASQ
			ipt -t nat -N KUBE-PROXY-CANARY
			ipt -t nat -N KUBE-SVC-NPX46M4PTMTKRN6Y
			ipt -t nat -N KUBE-SEP-A7
			ipt -t nat -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
			ipt -t nat -A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
			ipt -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
			ipt -t nat -A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
			ipt -t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully
			ipt -t nat -A PREROUTING -j KUBE-SERVICES
			ipt -t nat -A OUTPUT -j KUBE-SERVICES
			ipt -t nat -A POSTROUTING -j KUBE-POSTROUTING
			ipt -N KUBE-FIREWALL
			ipt -N KUBE-FORWARD
			ipt -N KUBE-SERVICES
			ipt -N KUBE-EXTERNAL-SERVICES
			ipt -A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
			ipt -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
			ipt -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
			ipt -A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
			ipt -A INPUT -j KUBE-FIREWALL
			ipt -A FORWARD -j KUBE-FORWARD
			ipt -A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
			ipt -A OUTPUT -j KUBE-FIREWALL
			ipt -t mangle -N KUBE-KUBELET-CANARY`},
		{name: "kube-proxy in nftables mode", nft: `
			table IP kube-proxy {
				map verdicts { typeof meta l4proto . th dport : verdict; }
				chain filter-prerouting { type filter hook prerouting priority -110; ct state new jump firewall-check; }
				chain filter-input { type filter hook input priority -110; ct state new jump firewall-check; }
				chain firewall-check { }
				chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
				chain nat-output { type nat hook output priority -100; jump services; }
				chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
				chain services { meta l4proto . th dport vmap @verdicts; }
				chain masquerading { mark and 0x4000 == 0 return; mark set mark xor 0x4000; masquerade fully-random; }
			}`},
		{name: "Calico", commands: `
			ipt -t raw -N cali-PREROUTING
			ipt -t raw -N cali-OUTPUT
			ipt -t raw -A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000
			ipt -t raw -A cali-PREROUTING -i cali+ -j MARK --set-xmark 0x40000/0x40000
			ipt -t raw -A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT
			ipt -t raw -A cali-OUTPUT -m mark --mark 0x10000/0x10000 -j ACCEPT
			ipt -t raw -I PREROUTING -j cali-PREROUTING
			ipt -t raw -I OUTPUT -j cali-OUTPUT
			ipt -t mangle -N cali-PREROUTING
			ipt -t mangle -A cali-PREROUTING -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
			ipt -t mangle -A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT
			ipt -t mangle -I PREROUTING -j cali-PREROUTING
			ipt -t nat -N cali-OUTPUT
			ipt -t nat -N cali-fip-dnat
			ipt -t nat -A cali-OUTPUT -j cali-fip-dnat
			ipt -t nat -I OUTPUT -j cali-OUTPUT
			ipt -N cali-INPUT
			ipt -N cali-wl-to-host
			ipt -A cali-wl-to-host -p udp -m multiport --dports 53 -j ACCEPT
			ipt -A cali-wl-to-host -j RETURN
			ipt -A cali-INPUT -i cali+ -g cali-wl-to-host
			ipt -A cali-INPUT -m mark --mark 0x10000/0x10000 -j ACCEPT
			ipt -I INPUT -j cali-INPUT`},
		{name: "Docker", commands: `
			ipt -t nat -N DOCKER
			ipt -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
			ipt -t nat -A OUTPUT ! -d LOOPBACK -m addrtype --dst-type LOCAL -j DOCKER
			ipt -t nat -A POSTROUTING -s POD ! -o docker0 -j MASQUERADE
			ipt -t nat -A DOCKER -i docker0 -j RETURN
			ipt -t nat -A DOCKER ! -i docker0 -p tcp --dport 32768 -d OTHER -j DNAT --to-destination OUTSIDE
			ipt -N DOCKER
			ipt -N DOCKER-USER
			ipt -N DOCKER-ISOLATION-STAGE-1
			ipt -P FORWARD DROP
			ipt -A FORWARD -j DOCKER-USER
			ipt -A FORWARD -j DOCKER-ISOLATION-STAGE-1
			ipt -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
			ipt -A DOCKER-USER -j RETURN`},
		{name: "Cilium", commands: `
			ipt -t raw -N CILIUM_PRE_raw
			ipt -t raw -A CILIUM_PRE_raw -m mark --mark 0x200/0xf00 -j CT --notrack
			ipt -t raw -A PREROUTING -j CILIUM_PRE_raw
			ipt -t mangle -N CILIUM_PRE_mangle
			ipt -t mangle -A CILIUM_PRE_mangle -m mark --mark 0x200/0xf00 -p tcp -j TPROXY --on-port 39217 --tproxy-mark 0x200
			ipt -t mangle -A PREROUTING -j CILIUM_PRE_mangle
			ipt -t nat -N CILIUM_OUTPUT_nat
			ipt -t nat -A OUTPUT -j CILIUM_OUTPUT_nat
			ipt -t nat -N CILIUM_POST_nat
			ipt -t nat -A CILIUM_POST_nat -s POD ! -d POD ! -o cilium_+ -j MASQUERADE
			ipt -t nat -A POSTROUTING -j CILIUM_POST_nat
			ipt -N CILIUM_INPUT
			ipt -A CILIUM_INPUT -m mark --mark 0x200/0xf00 -j ACCEPT
			ipt -A INPUT -j CILIUM_INPUT
			ipt -N CILIUM_OUTPUT
			ipt -A CILIUM_OUTPUT -m mark --mark 0xa00/0xe00 -j ACCEPT
			ipt -A CILIUM_OUTPUT -m mark ! --mark 0xe00/0xf00 -m mark ! --mark 0xd00/0xf00 -m mark ! --mark 0xa00/0xe00 -j MARK --set-xmark 0xc00/0xf00
			ipt -A OUTPUT -j CILIUM_OUTPUT`},
		{name: "flannel", commands: `
			ipt -t nat -N FLANNEL-POSTRTG
			ipt -t nat -A POSTROUTING -j FLANNEL-POSTRTG
			ipt -t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN
			ipt -t nat -A FLANNEL-POSTRTG -s POD -d PEER -j RETURN
			ipt -t nat -A FLANNEL-POSTRTG -s POD -j MASQUERADE --random-fully
			ipt -N FLANNEL-FWD
			ipt -A FORWARD -j FLANNEL-FWD
			ipt -A FLANNEL-FWD -s POD -j ACCEPT`},
		{name: "fail2ban", commands: `
			ipt -N f2b-sshd
			ipt -A f2b-sshd -s OTHER -j REJECT
			ipt -A f2b-sshd -j RETURN
			ipt -I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
			ipt -N f2b-nothing
			ipt -A f2b-nothing -j RETURN
			ipt -I INPUT -p tcp -j f2b-nothing`},
		{name: "a firewall that knows the proxy", commands: `
			ipt -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
			ipt -A INPUT -i lo -j ACCEPT
			ipt -A INPUT -p ipv6-icmp -j ACCEPT
			ipt -A INPUT -p tcp -m multiport --dports 22,15006,15008,15020,15021,15090 -m conntrack --ctstate NEW -j ACCEPT
			ipt -A INPUT -p tcp -j REJECT --reject-with tcp-reset
			ipt -P INPUT DROP`},
		{name: "a firewall in nftables that knows the proxy", nft: `
			table inet filter {
				set services { type inet_service; elements = { 22, 15006, 15021 }; }
				chain input {
					type filter hook input priority 0; policy drop;
					ct state vmap { invalid : drop, established : accept, related : accept };
					iifname lo accept;
					meta l4proto ipv6-icmp accept;
					tcp dport @services accept;
				}
				chain output { type filter hook output priority 0; policy accept; }
			}`},
		{name: "smaller segments", commands: "ipt -t mangle -A POSTROUTING -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"},
		{name: "the class of packets", commands: "ipt -t mangle -A OUTPUT -j DSCP --set-dscp 10\nipt -t mangle -A POSTROUTING -j CLASSIFY --set-class 1:10"},
		{name: "nftables that count", nft: `
			table inet statistics {
				counter everything { }
				set seen { type ipv4_addr; flags dynamic; size 100; timeout 1m; }
				chain in { type filter hook prerouting priority -310; counter name everything; ip saddr != 10.0.0.0/8 add @seen { ip saddr }; }
				chain out { type filter hook output priority -310; counter; }
			}`},
		{name: "chains of nftables with nothing", nft: `
			table inet empty {
				chain a { type nat hook output priority -110; }
				chain b { type nat hook prerouting priority -110; }
				chain c { type filter hook input priority 10; }
			}
			table netdev empty {
				chain d { type filter hook ingress device "eth0" priority 0; }
			}`},
		{name: "marks of others beside TPROXY", options: "--mode=TPROXY", commands: "ipt -t mangle -I PREROUTING -i eth0 -j MARK --set-xmark 0x4000/0x4000"},
		{name: "connection marks of others", commands: "ipt -t mangle -I PREROUTING -j CONNMARK --set-xmark 0x100/0x100\nipt -t mangle -I OUTPUT -j CONNMARK --restore-mark --mask 0x100"},
		{name: "answers from where the name server is", commands: "ipt -t nat -I OUTPUT -p udp --dport 5353 -j REDIRECT --to-ports 9999"},
		{name: "what is not for this pod", commands: "ipt -t nat -I OUTPUT -o docker0 -p tcp -j ACCEPT\nipt -A INPUT -i docker0 -j DROP\nipt -A FORWARD -j DROP"},
		{name: "a rate that is not reached", commands: "ipt -A INPUT -p icmp -m limit --limit 1/s -j ACCEPT"},
		{name: "routing by source", commands: "ip rule add pref 100 from OTHER lookup main", undo: "ip rule del pref 100"},
	}
	for i := range rows {
		rows[i].harmless = "all"
	}
	// Docker has a name server in the container, and sends its queries to another port of it.
	// Whoever is first in nat gets them.
	const first, last = "iptables-nft -t nat -I OUTPUT", "iptables-nft -t nat -A OUTPUT"
	docker := func(jump string) string {
		return `
			iptables-nft -t nat -N DOCKER_OUTPUT
			iptables-nft -t nat -A DOCKER_OUTPUT -d 127.0.0.11/32 -p tcp --dport 53 -j DNAT --to-destination 127.0.0.11:9999
			iptables-nft -t nat -A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp --dport 53 -j DNAT --to-destination 127.0.0.11:9999
			` + jump + " -d 127.0.0.11/32 -j DOCKER_OUTPUT"
	}
	server := netip.MustParseAddr("127.0.0.11")
	return append(rows,
		harm{name: "Docker's name server", nameServer: server, commands: docker(last), harmless: "iptables-nft iptables", in: overNFT, unlikeProbe: true},
		harm{name: "Docker's name server first", nameServer: server, commands: docker(first), in: overNFT, unlikeProbe: true},
	)
}
