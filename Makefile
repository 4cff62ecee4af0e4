# Everything that a user or a contributor needs, one target each; `make` lists them.

SHELL := /bin/bash
TARGET := x86_64-unknown-linux-gnu
ifeq ($(shell uname -m),aarch64)
TARGET := aarch64-unknown-linux-gnu
endif
# The release binary is static. A target has to be named, or build scripts and proc-macros would
# be built with these flags, too.
RELEASE_FLAGS := -C target-feature=+crt-static -C relocation-model=static
BINARY := target/$(TARGET)/release/hoist
SHIM := target/$(TARGET)/release/containerd-shim-hoist-v2
PREFIX ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help demo test check build install unit integration lint doc deny package conformance conformance-report missing vm vm-shell vm-test bench-shim man clean setup

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Build hoist and run a container from a bundle: what it sees, and what each step cost
	@.ci/setup demo
	@$(MAKE) --no-print-directory build
	@runtime-cli/demo/run.sh $(BINARY)

test: ## Install what is missing, then run everything: lint, unit, integration and documentation tests
	@.ci/setup test
	@$(MAKE) --no-print-directory lint unit integration doc

build: ## Build the static release binaries: the command line and containerd's shim
	@echo "==> build the static release binaries"
	@RUSTFLAGS="$(RELEASE_FLAGS)" cargo build --release --locked -p hoist-cli -p hoist-shim --target $(TARGET)
	@ls -l $(BINARY) $(SHIM) | awk '{printf "    %s: %d KB, static\n", $$NF, $$5/1024}'

unit: ## Tests that need no root: pure parts, parsers, the plan compiler, properties
	@echo "==> unit and property tests"
	@cargo test --locked --workspace --lib --bins

integration: ## Tests on the real kernel; what can't run says SKIP and why
	@echo "==> integration tests (root)"
	@.ci/integration

lint: ## Formatting and clippy
	@echo "==> cargo fmt, cargo clippy"
	@cargo fmt --all --check
	@cargo clippy --locked --workspace --all-targets -- -D warnings

doc: ## The library's documentation, with its examples compiled and run
	@echo "==> documentation"
	@RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	@cargo test --locked --workspace --doc --quiet

deny: ## Licences, duplicate crates and sources of the dependencies
	@.ci/setup deny
	@cargo deny --all-features check licenses bans sources

package: ## Build the crates from their packages, offline and with RUSTFLAGS set
	@.ci/package

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

clean: ## Remove what was built
	cargo clean
