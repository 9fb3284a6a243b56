# The conformance server has messages and a method table of its own, made by the
# same generator as the product's. Its objects come before libpugd.a, so that the
# linker takes its tables and leaves the product's out.
CONF_DIR   := build/conformance
CONF_GEN   := $(CONF_DIR)/gen
CONF_PROTO := tests/conformance/proto/connectrpc/conformance/v1/service.proto
CONF_C     := tables.c methods.c proto/connectrpc/conformance/v1/service.pb-c.c \
	proto/google/protobuf/any.pb-c.c

$(CONF_GEN)/stamp: $(CONF_PROTO) tests/conformance/planned $(wildcard proto/gen/*.py)
	@mkdir -p $(CONF_GEN)
	@protoc -Itests/conformance/proto --include_imports --descriptor_set_out=$(CONF_DIR)/set.pb \
		$(CONF_PROTO)
	@$(PYTHON) proto/gen/gen.py $(CONF_DIR)/set.pb $(CONF_GEN) --default-authz public --methods-symbol pb_conformance_methods \
		--planned tests/conformance/planned
	@touch $@
$(addprefix $(CONF_GEN)/,$(CONF_C)): $(CONF_GEN)/stamp ;

define confvariant
CONF_OBJ_$(1) := $(patsubst %.c,build/$(1)/conformance/%.o,$(CONF_C)) \
	build/$(1)/tests/conformance/handlers.o
build/$(1)/conformance/%.o: $(CONF_GEN)/%.c $(CONF_GEN)/stamp
	@mkdir -p $$(@D)
	@$$(CC_$(1)) -I$(CONF_GEN) $$(COMMON) $$(CFLAGS_$(1)) -c -o $$@ $$<
build/$(1)/tests/conformance/server_main.o: $(CONF_GEN)/stamp
build/$(1)/tests/conformance/handlers.o: $(CONF_GEN)/stamp
EXTRA_conformance/server_main_$(1) := $$(CONF_OBJ_$(1))
build/$(1)/bin/conformance/server_main: $$(CONF_OBJ_$(1))
-include build/$(1)/tests/conformance/handlers.d
endef
$(foreach v,test asan,$(eval $(call confvariant,$(v))))
FLAGS_tests/conformance/server_main.c := -I$(CONF_GEN)
FLAGS_tests/conformance/handlers.c := -I$(CONF_GEN)
