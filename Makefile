# Two of these set everything up on a fresh machine with Go, make and root:
# "make demo" and "make test".

GO       ?= go
FUZZTIME ?= 30s
IMAGE    ?= bin/meshtables.oci.tar

.PHONY: build image demo test soak kernels cluster check bench fuzz docs release clean

build: ## bin/meshtables, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/meshtables ./cmd/meshtables

image: ## bin/meshtables.oci.tar, for linux/amd64 and linux/arm64; the same commit and tag give the same bytes
	@mkdir -p $(dir $(IMAGE))
	@$(GO) run ./scripts/image $(IMAGE)

demo: build ## the main job, shown in a throw-away network namespace
	@$(GO) run ./scripts/demo bin/meshtables

test: ## every test, the longest as a fixed sample; needs root, installs what it needs
	@scripts/install-programs containers
	@scripts/test

soak: ## every test, all of them whole
	@scripts/install-programs containers
	@MESHTABLES_SOAK=1 scripts/test

kernels: ## the program in other kernels, each in a virtual machine; fetches them as Debian packages
	@scripts/install-programs kernels
	@$(GO) run ./scripts/kernels

cluster: image ## the CNI plugin and all of deploy/ on a Kubernetes of one node, which it builds from Go modules once
	@scripts/install-programs containers
	@scripts/install-programs cluster
	@scripts/cluster

check: ## gofmt, go vet, staticcheck, govulncheck where it can be reached, race detector
	@scripts/check

bench: build ## what it costs, beside iptables, nft, istio-iptables and an empty program in the same run, and connections per second
	@scripts/install-programs
	@$(GO) build -C scripts/bench/istio-iptables -o $(CURDIR)/bin/istio-iptables .
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/empty ./tests/cost/empty
	@$(GO) run ./scripts/bench bin/meshtables bin/istio-iptables bin/empty
	$(GO) test -run none -bench Connections -benchtime 1x ./tests

fuzz: ## every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

docs: ## docs/options.md and docs/meshtables.8, from the options
	$(GO) test -count=1 ./cmd/meshtables -run TestGeneratedDocuments -update

release: ## dist/: programs, manual page, image and their checksums; the same commit and tag give the same bytes
	@scripts/release

clean:
	rm -rf bin dist
