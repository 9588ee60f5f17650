# Every habit has one verb. `make` alone says which.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET       := $(abspath $(or $(CARGO_TARGET_DIR),target))
HOST         := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
AS_ROOT      := tests/as-root.sh
# The programs, as tests use them and as they are installed.
PROGRAMS     := $(TARGET)/programs
RELEASE      := $(TARGET)/release-programs
PACKAGES     := $(TARGET)/package
export SUDO_RS ?= $(TARGET)/sudo-rs
SUDO_RS_VERSION := 0.2.15
FUZZ_SECONDS ?= 600

PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
BINDIR     ?= $(PREFIX)/bin
# The distribution's folder of PAM modules: libpam looks nowhere else.
PAMDIR     ?= $(or $(patsubst %/pam_permit.so,%,$(firstword $(wildcard \
                /usr/lib/*-linux-gnu/security/pam_permit.so /lib/*-linux-gnu/security/pam_permit.so \
                /usr/lib64/security/pam_permit.so /lib/security/pam_permit.so))),/lib/security)

# What makes packages, in the versions that ours are made with.
CARGO_DEB_VERSION := 3.8.0
CARGO_RPM_VERSION := 0.21.1

.PHONY: help build release demo sandbox test test-vm test-vagrant test-package check bench fuzz deb rpm install deps rust nightly sudo-rs cargo-deb cargo-rpm

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: deps-demo release ## Watch the real sudo refuse, open with a one-time code, and refuse again (3 min)
	@WORLD_FILES=tests/demo $(AS_ROOT) tests/world/world.sh $(RELEASE) expect -f /opt/world/demo.exp

sandbox: deps-demo release ## A shell in that world: play root, be alice
	@WORLD_FILES=tests/demo $(AS_ROOT) tests/world/world.sh $(RELEASE) bash /opt/world/sandbox.sh

# Only the tests run as root; cargo stays who you are. Those of the whole mostly wait, for a door to
# open or a grant to end, so more of them at once than there are cores.
test: deps build ## Every test: units, properties, and the real sudo, su, login, sshd, rsyslogd, nginx
	@failed=; \
	$(TEST) --workspace --exclude jit-tests || failed=1; \
	$(TEST) -p jit-tests -- --test-threads=$(shell expr 3 \* $$(nproc)) || failed=1; \
	[ -z "$$failed" ]
TEST = JIT_BIN=$(PROGRAMS) $(if $(filter-out 0,$(shell id -u)),$(RUN_AS_ROOT)) cargo test --locked --no-fail-fast
RUN_AS_ROOT = CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUNNER=$(abspath $(AS_ROOT))

# DEB names a package that is there; else it is made. VM names releases, and chapters: bookworm:doors,time
test-vm: deps-vm $(if $(DEB),,deb) ## Boot Debian 12 and 13 under QEMU, and do there what people do (DEB, VM)
	@tests/vm/test.sh "$(or $(DEB),$(NEWEST_DEB))" $(TARGET)/vm $(VM)

test-vagrant: deps-vagrant $(if $(DEB),,deb) ## Bring up vagrant/Vagrantfile under libvirt, and walk through its README (root)
	@$(AS_ROOT) tests/vm/disk.sh $(TARGET)/vm bookworm
	@$(AS_ROOT) tests/vm/vagrant.sh bookworm $(TARGET)/vm "$(or $(DEB),$(NEWEST_DEB))"
NEWEST_DEB = $$(ls -t $(TARGET)/package/*.deb | head -n 1)

check: rust deps-build ## Format, clippy, licences and bans, documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace --document-private-items --locked --quiet
	@tests/deny.sh

bench: deps-bench release ## Measure: decide, bundles, protocol, whole PAM transactions
	@cargo bench --locked -p jit-policy -p jit-protocol
	@cargo build --locked --release -p jit-bench
	@$(AS_ROOT) tests/bench/run.sh $(RELEASE) $(TARGET)

fuzz: rust nightly ## Fuzz everything that reads what others write, FUZZ_SECONDS (600) each
	@for target in $$(cargo +nightly fuzz list); do \
		echo "--- $$target, $(FUZZ_SECONDS) s"; \
		mkdir -p "fuzz/corpus/$$target"; \
		cargo +nightly fuzz run "$$target" "fuzz/corpus/$$target" "fuzz/seeds/$$target" -- -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1; \
	done

build: deps-build rust ## Build for testing
	@cargo build --locked -p jit-agent -p jit-cli -p pam_jit
	@mkdir -p $(PROGRAMS)
	@install -C -m 755 $(TARGET)/debug/jit-agentd $(TARGET)/debug/jit $(PROGRAMS)
	@install -C -m 644 $(TARGET)/debug/libpam_jit.so $(PROGRAMS)/pam_jit.so

release: deps-build rust $(RELEASE)/third-party.txt ## Build for use
	@cargo build --locked --release -p jit-agent -p jit-cli
	@cargo build --locked --profile module -p pam_jit
	@mkdir -p $(RELEASE)
	@install -C -m 755 $(TARGET)/release/jit-agentd $(TARGET)/release/jit $(RELEASE)
	@install -C -m 644 $(TARGET)/module/libpam_jit.so $(RELEASE)/pam_jit.so

%/third-party.txt: Cargo.lock package/third-party.sh | rust
	@mkdir -p $(@D)
	@package/third-party.sh >$@.new
	@mv $@.new $@

# Needs nothing but what `make release` made, so that only this half has to run as root.
install: ## Put everything in place (DESTDIR, PREFIX, PAMDIR); no PAM file is changed
	@test -e $(RELEASE)/third-party.txt || { echo "nothing to install yet: 'make release' first" >&2; exit 1; }
	@PREFIX=$(PREFIX) SBINDIR=$(SBINDIR) BINDIR=$(BINDIR) PAMDIR=$(PAMDIR) package/stage.sh $(RELEASE) "$(DESTDIR)"
	@echo "Installed. Start the agent: systemctl daemon-reload && systemctl enable --now jit-agentd"
	@echo "Nothing uses it before its lines are in /etc/pam.d: README.md, 'The first hour'."

deb: release deps-deb cargo-deb ## Make a Debian package in target/package
	@package/build.sh deb $(RELEASE) $(PACKAGES)

rpm: release deps-rpm cargo-rpm ## Make an RPM package in target/package
	@package/build.sh rpm $(RELEASE) $(PACKAGES)

test-package: deps-package build $(PROGRAMS)/third-party.txt cargo-deb cargo-rpm ## Install, upgrade, remove and purge the packages on a Debian that boots (root)
	@$(AS_ROOT) tests/package/run.sh $(PROGRAMS) $(TARGET)/package-test

deps: deps-test sudo-rs ## Install what the tests need and is missing (apt); starts no service

deps-%:
	@tests/deps.sh $*

# Debian's sudo-rs is older than what people install; this is the one we are tested with.
sudo-rs: rust
	@if [ ! -e "$(SUDO_RS)/bin/sudo" ]; then \
		cargo install --quiet --locked --version $(SUDO_RS_VERSION) --root "$(SUDO_RS)" sudo-rs; \
	fi

cargo-deb: rust
	@[ "$$(cargo deb --version 2>/dev/null)" = $(CARGO_DEB_VERSION) ] || \
		cargo install --quiet --locked --force --version $(CARGO_DEB_VERSION) cargo-deb

cargo-rpm: rust
	@[ "$$(cargo generate-rpm --version 2>/dev/null)" = "cargo-generate-rpm $(CARGO_RPM_VERSION)" ] || \
		cargo install --quiet --locked --force --version $(CARGO_RPM_VERSION) cargo-generate-rpm

# Coverage for the fuzzer takes a nightly compiler.
nightly:
	@cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal
	@command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz

rust:
	@command -v cargo >/dev/null || { echo "Rust is missing: https://rustup.rs says how to install it" >&2; exit 1; }
