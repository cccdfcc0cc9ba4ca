# Two of these set everything up on a fresh machine with Go, make and root:
# "make demo" and "make test".

GO       ?= go
FUZZTIME ?= 30s
IMAGE    ?= bin/meshtables.oci.tar

.PHONY: build image demo test check bench fuzz docs release clean

build: ## bin/meshtables, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/meshtables ./cmd/meshtables

image: ## bin/meshtables.oci.tar, for linux/amd64 and linux/arm64; the same commit and tag give the same bytes
	@mkdir -p $(dir $(IMAGE))
	@$(GO) run ./scripts/image $(IMAGE)

demo: build ## the main job, shown in a throw-away network namespace
	@$(GO) run ./scripts/demo bin/meshtables

test: ## everything; needs root, installs what it needs
	@scripts/install-programs containers
	$(GO) test -count=1 -timeout 15m ./...
	cd tests/container && $(GO) test -count=1 ./...

check: ## gofmt, go vet, staticcheck, govulncheck where it can be reached, race detector
	@scripts/check

bench: build ## what it costs, beside the iptables programs in the same run, and connections per second
	@scripts/install-programs
	@$(GO) run ./scripts/bench bin/meshtables
	$(GO) test -run none -bench Connections -benchtime 1x ./tests

fuzz: ## every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

docs: ## docs/options.md and docs/meshtables.8, from the options
	$(GO) test -count=1 ./cmd/meshtables -run TestGeneratedDocuments -update

release: ## dist/: programs, manual page, image and their checksums; the same commit and tag give the same bytes
	@scripts/release

clean:
	rm -rf bin dist
