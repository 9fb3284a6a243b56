# Makes C from the protos; included by the root Makefile, which compiles
# PROTO_GEN_C (without -Wconversion and -Wcast-qual) and makes every object
# depend on PROTO_STAMP (order-only; depfiles say which headers matter).

GEN           ?= build/gen
PYTHON        ?= /usr/bin/python3
PROTOC        ?= protoc
PROTO_INCLUDE ?= /usr/include

PROTO_SRCS  := $(sort $(wildcard proto/*/v1/*.proto)) proto/google/rpc/error_details.proto \
	proto/pug/options/v1/options.proto
PROTO_WKT   := $(addprefix google/protobuf/,any duration empty field_mask struct timestamp wrappers)
PROTO_TOOLS := $(wildcard proto/gen/*.py)
PROTO_PB_C  := $(patsubst proto/%.proto,%,$(filter-out proto/pug/%,$(PROTO_SRCS))) $(PROTO_WKT)

PROTO_GEN_C := $(PROTO_PB_C:%=$(GEN)/proto/%.pb-c.c) $(GEN)/tables.c $(GEN)/methods.c
PROTO_GEN_H := $(PROTO_PB_C:%=$(GEN)/proto/%.pb-c.h) $(GEN)/tables.h $(GEN)/rules.h $(GEN)/rpc.h
PROTO_STAMP := $(GEN)/.proto.stamp
PROTO_GONE  := $(filter-out $(wildcard $(PROTO_GEN_C) $(PROTO_GEN_H)),$(PROTO_GEN_C) $(PROTO_GEN_H))

# Generated files keep their time when they do not change, so the stamp alone says
# that they are up to date; a file that somebody removed forces the recipe.
$(PROTO_STAMP): $(PROTO_SRCS) $(PROTO_TOOLS) worker/rpc/PLANNED $(if $(PROTO_GONE),proto-force)
	@mkdir -p $(GEN)
	@echo "  GEN proto"
	@$(PROTOC) -I proto -I $(PROTO_INCLUDE) --include_imports --include_source_info \
		-o $(GEN)/api.pb $(PROTO_SRCS) $(PROTO_WKT:%=$(PROTO_INCLUDE)/%.proto)
	@$(PYTHON) proto/gen/gen.py --protoc $(PROTOC) --planned worker/rpc/PLANNED \
		$(GEN)/api.pb $(GEN)
	@touch $@

$(PROTO_GEN_C) $(PROTO_GEN_H): $(PROTO_STAMP) ;

.PHONY: proto-force
proto-force:
