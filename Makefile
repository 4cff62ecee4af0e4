# Everything that a user or a contributor needs, one target each; `make` lists them.

SHELL := /bin/bash
# The release binaries are static, against musl where that is to be had: .ci/release says.
TRIPLE = $(eval TRIPLE := $(shell .ci/release target))$(TRIPLE)
RELEASE = $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)/release
BINARY = $(RELEASE)/hoist
SHIM = $(RELEASE)/containerd-shim-hoist-v2
PREFIX ?= /usr/local
# Built as they are, so that what it has of the library is what they have.
BENCH = $(RELEASE)/hoist-bench
GUARD = $(BENCH) guard --hoist $(BINARY) --shim $(SHIM)
RESULTS ?= bench.json

.DEFAULT_GOAL := help
.PHONY: help demo test check build layout install unit integration attack lint doc deny sanitize security-report package fuzz conformance conformance-report missing vm vm-shell vm-test bench bench-shim microbench guard guard-write faults man clean setup

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## Build hoist and run a container from a bundle: what it sees, and what each step cost
	@runtime-cli/demo/run.sh $(BINARY)

test: ## Install what is missing, then run everything: lint, unit, integration and documentation tests
	@.ci/setup test
	@$(MAKE) --no-print-directory lint unit integration doc

build: ## Build the static release binaries: the command line and containerd's shim
	@.ci/setup build
	@.ci/release

layout: ## Write runtime-cli/layout.ld, the order of the release's functions: what commands execute comes first
	@.ci/setup build
	@.ci/layout

unit: ## Tests that need no root: pure parts, parsers, the plan compiler, properties
	@echo "==> unit and property tests"
	@cargo test --locked --workspace --exclude hoist-cli-fuzz --exclude hoist-shim-fuzz --lib --bins

integration: ## Tests on the real kernel; what can't run says SKIP and why
	@echo "==> integration tests (root)"
	@.ci/integration

attack: ## Play the published attacks for longer: TIME=SECONDS or ITERATIONS=N for each race, NAME=TEST, RUNTIME=PATH of another runtime
	@.ci/setup test
	@HOIST_ATTACK_SECONDS=$(TIME) HOIST_ATTACK_ITERATIONS=$(ITERATIONS) HOIST_ATTACK_RUNTIME=$(RUNTIME) .ci/attack $(NAME)

lint: ## Formatting and clippy
	@echo "==> cargo fmt, cargo clippy"
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings

doc: ## The library's documentation, with its examples compiled and run
	@echo "==> documentation"
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	@cargo test --locked --workspace --doc --quiet

deny: ## Licences, duplicate crates and sources of the dependencies, and what RustSec knows of them
	@.ci/setup deny
	@.ci/deny

sanitize: ## Miri and AddressSanitizer on what they can run: ONLY=miri|address
	@.ci/setup test
	@.ci/setup sanitize
	@.ci/sanitize $(ONLY)

security-report: ## Run the tests of advisories, then write docs/security.md from them and from docs/security/*.json
	@.ci/setup test
	@.ci/security

package: ## Build the crates from their packages, offline and with RUSTFLAGS set
	@.ci/package

fuzz: ## Fuzz what reads data from elsewhere (conformance/fuzz), with cargo-fuzz: TIME=SECONDS for each, 60; TARGET="config wire"; RECORD=FILE
	@.ci/setup fuzz
	@cargo run --quiet --locked -p hoist-fuzz -- run $(addprefix --time ,$(TIME)) $(addprefix --record ,$(RECORD)) $(TARGET)

conformance: ## Other people's suites: SUITE=oci|runc|hoist|containerd|docker|vm RUNTIME=runc|crun|PATH ENVIRONMENT=… TEST=PART/TITLE
	@.ci/setup conformance
	@.ci/setup vm
	@cargo run --quiet --locked -p hoist-conformance -- run $(SUITE) \
		$(addprefix --runtime ,$(RUNTIME)) $(addprefix --environment ,$(ENVIRONMENT)) $(if $(TEST),--test "$$TEST")

missing: ## hoist's own tests on kernels that lack system calls
	@.ci/setup test
	@cargo run --quiet --locked -p hoist-conformance -- missing

conformance-report: ## Write docs/conformance.md from the results that `make conformance` has kept
	@cargo run --quiet --locked -p hoist-conformance -- report

vm: ## Build the virtual machine that vm-test runs in (a minute; kept in ~/.cache/hoist)
	@.ci/setup vm
	@conformance/vm/image

vm-shell: vm ## A terminal in a throw-away copy of the virtual machine
	@conformance/vm/shell

vm-test: ## Tests in a virtual machine: systemd, all of cgroup v2, AppArmor, a rootless user
	@.ci/setup vm
	@conformance/vm/test

microbench: ## criterion: loading config.json, compiling the plan and a seccomp profile, the device program
	@cargo bench --quiet --locked -p hoist-bench --bench pure

guard: build ## Count system calls, instructions, bytes, crates and unsafe, and compare them with benches/budgets.toml
	@.ci/setup guard
	@.ci/release hoist-bench
	@$(GUARD)

guard-write: build ## Make what is counted the budgets: a decision, to be explained in the commit
	@.ci/setup guard
	@.ci/release hoist-bench
	@$(GUARD) --write

bench: build ## The floor, hoist, crun and runc in turn (a quarter of an hour), then docs/performance.md: RUNTIME=NAME=PATH ONLY=run VIEW=… ROUNDS=…
	@.ci/setup bench
	@.ci/release hoist-bench
	@$(BENCH) run --output $(RESULTS) --runtime hoist=$(BINARY) $(addprefix --runtime ,$(RUNTIME)) \
		$(addprefix --only ,$(ONLY)) $(addprefix --view ,$(VIEW)) $(addprefix --rounds ,$(ROUNDS))
	@$(BENCH) report $(RESULTS)

bench-shim: build ## The shim's time and memory beside runc with its own shim, under containerd and Docker
	@.ci/setup conformance
	@conformance/engines/build
	@BIND=$(CURDIR)/benches conformance/engines/enter $(dir $(SHIM)) -- $(CURDIR)/benches/shim $(addprefix -n ,$(ROUNDS))

install: build ## Install both binaries, man pages and completions below PREFIX (/usr/local)
	install -D -m 0755 $(BINARY) $(DESTDIR)$(PREFIX)/bin/hoist
	install -D -m 0755 $(SHIM) $(DESTDIR)$(PREFIX)/bin/containerd-shim-hoist-v2
	mkdir -p $(DESTDIR)$(PREFIX)/share/man/man8
	$(BINARY) man $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0644 shim/containerd-shim-hoist-v2.8 $(DESTDIR)$(PREFIX)/share/man/man8
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BINARY) completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/hoist
	$(BINARY) completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_hoist
	$(BINARY) completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/hoist.fish
	[ ! -d $(DESTDIR)/etc/apparmor.d ] || install -m 0644 runtime-cli/apparmor/hoist $(DESTDIR)/etc/apparmor.d/hoist

faults: build ## Kill every command and the shim after each of their system calls, and make each of these fail (two hours)
	@.ci/setup test
	@.ci/faults

clean: ## Remove what was built
	cargo clean
