# Included by the root Makefile, which sets GEN (build/gen) and compiles AGENT_GEN_C.
# UAP_REGEXES: the rules of Debian's package uap-core (Apache License 2.0). They are made
# part of the binary and are never committed.
UAP_REGEXES ?= /usr/share/uap-core/regexes.yaml
AGENT_GEN_C := $(GEN)/agent_rules.c

$(AGENT_GEN_C): worker/ingest/gen/agents.py $(wildcard $(UAP_REGEXES))
	@mkdir -p $(@D)
	@echo "  GEN agents"
	@/usr/bin/python3 worker/ingest/gen/agents.py $(UAP_REGEXES) $@
