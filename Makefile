# SPDX-License-Identifier: GPL-2.0
#
# The verbs of the project; `make help` lists them. The module itself is described in Kbuild.
#
#   KDIR=DIR   build the module for another kernel: its build folder (headers or built source)
#   MO=DIR     where the module's build products go (target/kmod)
#   V=1        show the commands
#   AUDIT=1    a module for tests, which remembers every nonce (src/tls/audit.rs); in target/kmod-audit

MO ?= target/kmod$(if $(AUDIT),-audit)
comma := ,

.DEFAULT_GOAL := default
.PHONY: default help setup build demo test test-debug test-audit soak nic-model test-nic test-nic-quick test-nic-debug sim bench fuzz lint stats clean

default: build help

help:
	@echo 'make setup   toolchain and kernel headers into $${HOMA_CACHE:-~/.cache/homa} (root; once)'
	@echo 'make build   homa.ko for the stock Debian 7.3 kernel, in $(MO) (KDIR=... for another)'
	@echo 'make demo    encrypted messages between two hosts, in a VM, with the proof'
	@echo 'make test    every test: host, lint, headers, VMs'
	@echo 'make test-debug  the VMs of it on a debug kernel: KASAN, lockdep, kmemleak, faults (hours)'
	@echo 'make test-audit  the VMs of it with every nonce remembered: none may seal two plaintexts'
	@echo 'make soak    mixed load for an hour, and for ten minutes with loss and new keys each second'
	@echo 'make test-nic  the kernel'\''s mlx5 driver on the model of a ConnectX, with and without TLS offload'
	@echo 'make test-nic-quick  a part of it, minutes; make test-nic-debug  on the debug kernel (hours)'
	@echo 'make bench   instructions per round trip: udp, tcp, ktls, homa, sealed'
	@echo 'make sim     the simulator: 12,000 seeds of faults, W1 to W5 on 144 hosts (long)'
	@echo 'make fuzz    the fuzz targets, a minute each (FUZZ_SECONDS=N)'
	@echo 'make lint    rustfmt, clippy, checkpatch, shellcheck, ways to a panic'
	@echo 'make stats   size of the module, lines and unsafe blocks per folder'
	@echo 'make clean   removes what was built (the cache stays)'

setup:
	@scripts/setup

build: setup
	@scripts/build MO="$(MO)" $(if $(KDIR),KDIR="$(KDIR)") $(if $(V),V="$(V)") $(if $(AUDIT),AUDIT=1)

demo: build
	@scripts/demo

test: build
	@scripts/test

test-debug: setup
	@scripts/test-debug

nic-model: setup
	@scripts/enter env CARGO_TARGET_DIR="$(CURDIR)/target/guest" cargo build --quiet --locked --release -p nic-model

test-audit: setup
	@scripts/test-audit

soak: build
	@tests/run --suites tests/suites-soak soak-rekey soak soak-recorded

test-nic: setup
	@scripts/test-nic

test-nic-quick: setup
	@scripts/test-nic --quick

test-nic-debug: setup
	@scripts/test-nic --debug

bench: build
	@bench/run

sim: setup
	@scripts/sim

fuzz: setup
	@scripts/fuzz

lint: build
	@scripts/lint

stats: build
	@scripts/stats

clean:
	rm -rf target
