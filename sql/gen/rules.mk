# Included by the root Makefile, which sets GEN (build/gen). Gives $(SQL_GEN), the
# generated sources to compile ($(SQL_GEN_C)), and SQL_STAMP.
SQL_QUERIES := $(sort $(wildcard sql/query/*.sql))
SQL_SCHEMA  := $(sort $(wildcard sql/schema/[0-9]*.sql))
SQL_SRCS    := $(SQL_QUERIES) $(SQL_SCHEMA)
SQL_TOOLS   := sql/gen/gen.py sql/gen/sqlfile.py
SQL_GEN_C   := $(GEN)/q.c $(GEN)/migrations.c
SQL_GEN     := $(GEN)/q.h $(SQL_GEN_C)
# Objects want it to exist (order-only); who includes q.h depends on it through -MMD.
SQL_STAMP   := $(GEN)/q.h

# One run makes both files; the stamp keeps parallel makes from running it twice.
# The folders are prerequisites so that a removed or added file counts as a change.
$(GEN)/sql.stamp: $(SQL_QUERIES) $(SQL_TOOLS) sql/query
	@mkdir -p $(GEN)
	/usr/bin/python3 sql/gen/gen.py queries $(GEN)/q.h $(GEN)/q.c $(SQL_QUERIES)
	@touch $@
$(GEN)/q.h $(GEN)/q.c: $(GEN)/sql.stamp ;
$(GEN)/migrations.c: $(SQL_SCHEMA) $(SQL_TOOLS) sql/schema
	@mkdir -p $(GEN)
	/usr/bin/python3 sql/gen/gen.py migrations $@ $(SQL_SCHEMA)
