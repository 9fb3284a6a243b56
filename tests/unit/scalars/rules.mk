# sample.v1.Scalars for the codecs' tests: a second table of messages with the product's and
# this one, made by the product's generator. Its object comes before libpugd.a, so that the
# linker takes this table and leaves the product's out.
SCALARS_GEN   := build/scalars
SCALARS_PROTO := tests/unit/scalars/sample/v1/scalars.proto
SCALARS_USERS := unit/test_scalars replay/fuzz_json replay/fuzz_decode bin/fuzz_json bin/fuzz_decode

$(SCALARS_GEN)/stamp: $(SCALARS_PROTO) $(PROTO_STAMP) $(PROTO_TOOLS)
	@mkdir -p $(@D)
	@$(PROTOC) -I tests/unit/scalars -I proto -I $(PROTO_INCLUDE) --include_imports -o $(@D)/set.pb \
		$(SCALARS_PROTO) $(PROTO_SRCS) $(PROTO_WKT:%=$(PROTO_INCLUDE)/%.proto)
	@$(PYTHON) proto/gen/gen.py --protoc $(PROTOC) --planned worker/rpc/PLANNED $(@D)/set.pb $(@D)
	@touch $@
$(SCALARS_GEN)/tables.c $(SCALARS_GEN)/proto/sample/v1/scalars.pb-c.c: $(SCALARS_GEN)/stamp ;

define scalarsvariant
build/$(1)/scalars/%.o: $(SCALARS_GEN)/%.c $(SCALARS_GEN)/stamp
	@mkdir -p $$(@D)
	@$$(CC_$(1)) -I$(SCALARS_GEN) $$(COMMON) $$(CFLAGS_$(1)) -c -o $$@ $$<
$(SCALARS_USERS:%=build/$(1)/%): build/$(1)/scalars/tables.o build/$(1)/scalars/proto/sample/v1/scalars.pb-c.o
endef
$(foreach v,test asan fuzz,$(eval $(call scalarsvariant,$(v))))
