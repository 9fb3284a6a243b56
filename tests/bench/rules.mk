# The events, their ways out and the plain scans of bench/insights_main; events of bench/kernels.
define benchvariant
BENCH_OBJ_$(1) := $(patsubst %,build/$(1)/tests/bench/%.o,columns emit plain)
EXTRA_bench/insights_main_$(1) := $$(BENCH_OBJ_$(1))
build/$(1)/bin/bench/insights_main: $$(BENCH_OBJ_$(1))
-include $$(BENCH_OBJ_$(1):.o=.d)
EXTRA_bench/kernels_$(1) := build/$(1)/tests/bench/kernel_events.o
build/$(1)/bin/bench/kernels: build/$(1)/tests/bench/kernel_events.o
-include build/$(1)/tests/bench/kernel_events.d
endef
$(foreach v,test asan,$(eval $(call benchvariant,$(v))))
