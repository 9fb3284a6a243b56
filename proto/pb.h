/*
 * Tables that describe our messages, made at build time from the
 * FileDescriptorSet (D80). protobuf-c's own descriptors lack JSON names, map
 * and well-known-type knowledge and our rules, so codecs, validation and the
 * dispatcher work from these instead. All of it is read-only data.
 *
 * The build's copy of the protos is rewritten to proto2 rules, which gives the
 * C structs presence: `optional string` is NULL when absent, scalars have a
 * has_ member. The published files and the bytes on the wire do not change.
 */
#ifndef PROTO_PB_H
#define PROTO_PB_H

#include <protobuf-c/protobuf-c.h>
#include "shm/base/str.h"

enum pb_type {
	PB_DOUBLE,
	PB_FLOAT,
	PB_INT32,
	PB_SINT32,
	PB_SFIXED32,
	PB_UINT32,
	PB_FIXED32,
	PB_INT64,
	PB_SINT64,
	PB_SFIXED64,
	PB_UINT64,
	PB_FIXED64,
	PB_BOOL,
	PB_ENUM,
	PB_STRING,
	PB_BYTES,
	PB_MESSAGE
};

enum pb_label {
	PB_IMPLICIT, /* proto3 without presence: only in google.protobuf.* */
	PB_OPTIONAL, /* has_ member, or a pointer that may be NULL */
	PB_REPEATED,
	PB_MAP,  /* repeated entry messages with fields 1 (key) and 2 (value) */
	PB_ONEOF /* union member; the case enum lies at quantifier */
};

enum pb_wkt {
	PB_PLAIN,
	PB_TIMESTAMP,
	PB_DURATION,
	PB_STRUCT,
	PB_VALUE,
	PB_LIST_VALUE,
	PB_FIELD_MASK,
	PB_ANY,
	PB_WRAPPER /* DoubleValue ... BytesValue: one field "value" */
};

/* A regular expression compiled to a DFA by proto/gen: state 0 starts, row-major
 * next[state * classes + class_of[byte]], 255 is the dead state. */
struct pb_pattern {
	const char *text; /* the expression, for messages */
	const uint8_t *class_of;
	const uint8_t *next;
	uint8_t classes;
	const uint8_t *accept; /* one byte per state */
};

/* Field rules; a member that is 0/NULL/false does not apply. Scalar rules hold
 * for each element of a repeated field. Set only through proto options. */
struct pb_rule {
	bool required;                 /* present and, for strings, not empty (D11) */
	bool email;                    /* auth.md 1.7 */
	bool uuid;                     /* 8-4-4-4-12, either case */
	bool defined_only;             /* enum: undefined numbers refused */
	bool not_zero;                 /* enum: the zero value refused */
	bool finite;                   /* double: no NaN or infinity */
	bool unique;                   /* repeated strings: no element twice */
	bool https;                    /* string: an https URL */
	uint32_t min_len, max_len;     /* code points */
	uint32_t min_bytes, max_bytes; /* bytes */
	uint32_t min_items, max_items; /* repeated, map */
	bool has_range;
	double min, max;                      /* numbers, inclusive */
	const struct pb_pattern *pattern;     /* string */
	const struct pb_pattern *key_pattern; /* map keys */
	uint32_t max_key_bytes;               /* map keys */
};

struct pb_msg;

struct pb_enum_value {
	const char *name;
	int32_t number;
};

struct pb_enum {
	const char *name;                   /* full name */
	const struct pb_enum_value *values; /* in declaration order */
	uint16_t n_values;
};

struct pb_field {
	const char *name;      /* proto name */
	const char *json_name; /* lowerCamelCase */
	uint32_t number;
	uint8_t type;  /* enum pb_type */
	uint8_t label; /* enum pb_label */
	uint8_t packed;
	int8_t oneof;               /* index into pb_msg.oneofs, -1 outside oneofs */
	uint32_t offset;            /* of the member (union member, pointer, array pointer) */
	uint32_t quantifier;        /* of has_, n_ or the oneof case; 0 when none */
	const struct pb_msg *msg;   /* PB_MESSAGE and PB_MAP: the (entry) message */
	const struct pb_enum *en;   /* PB_ENUM */
	const struct pb_rule *rule; /* NULL: no rule */
};

/* Collects violations; see proto/validate.h. */
struct pb_check;

struct pb_oneof {
	const char *name;
	bool required;
};

struct pb_msg {
	const char *name; /* full name, no leading dot */
	const ProtobufCMessageDescriptor *pc;
	const struct pb_field *fields; /* ascending by number */
	uint16_t n_fields;
	uint8_t wkt; /* enum pb_wkt */
	const struct pb_oneof *oneofs;
	uint16_t n_oneofs;
	/* Cross-field rule named by the message option `check`, or NULL.
	 * The functions live in worker/rules/ and are called rule_<name>. */
	void (*check)(struct pb_check *, const ProtobufCMessage *);
	/* True when this message or anything below it has a rule or a check. */
	bool has_rules;
};

/* Who may call (auth.md 3.2, decisions D3, D52). */
enum pb_authz {
	PB_AUTHZ_PUBLIC = 1, /* no credential; a credential that is sent is ignored */
	PB_AUTHZ_SELF,       /* JWT; acts on the caller */
	PB_AUTHZ_ORG,        /* JWT; role in the org that the request's org_id names */
	PB_AUTHZ_PROJECT,    /* JWT + x-project-id; role in the project's org */
	PB_AUTHZ_SDK,        /* public or private API key */
	PB_AUTHZ_SHARED      /* private API key, or JWT + x-project-id with a role */
};

enum pb_role { PB_ROLE_NONE, PB_ROLE_ADMIN = 1, PB_ROLE_MEMBER = 2, PB_ROLE_VIEWER = 3 };

enum pb_rate { /* kind of work; limits go by credential (worker/call/limit.c) */
	PB_RATE_READ = 1,
	PB_RATE_WRITE,
	PB_RATE_AUTH /* password, mail */,
	PB_RATE_INGEST,
	PB_RATE_QUERY
};

struct call;
typedef int pb_handler(struct call *c, const void *in, void *out);

struct pb_method {
	const char *service;        /* "auth.v1.AuthService" */
	const char *name;           /* "SignIn" */
	const char *path;           /* "/auth.v1.AuthService/SignIn" */
	const char *const *aliases; /* further paths, NULL-terminated */
	const struct pb_msg *in, *out;
	uint8_t authz;        /* enum pb_authz */
	uint8_t role;         /* lowest role that may call; PB_ROLE_NONE: any */
	uint8_t rate;         /* enum pb_rate */
	bool no_side_effects; /* answers GET (D50) */
	bool server_stream;
	pb_handler *handler; /* NULL: not written yet, answers unimplemented */
};

struct pb_methods {
	const struct pb_method *v;
	uint16_t n;
	/* every path and alias, sorted by strcmp, for bsearch */
	const struct pb_path {
		const char *path;
		uint16_t method;
	} * paths;
	uint16_t n_paths;
};

/* Binary search by full name ("google.rpc.ErrorInfo"); NULL if unknown.
 * Needed for Any. */
const struct pb_msg *pb_msg_find(struct str full_name);
/* Binary search by number (fields are sorted). */
const struct pb_field *pb_field_find(const struct pb_msg *m, uint32_t number);
/* By JSON name or proto name; NULL if unknown. */
const struct pb_field *pb_field_named(const struct pb_msg *m, struct str name);
const struct pb_enum_value *pb_enum_number(const struct pb_enum *e, int32_t number);
const struct pb_enum_value *pb_enum_named(const struct pb_enum *e, struct str name);

/* The tables of the product: build/gen/methods.c. */
extern const struct pb_methods pb_product_methods;

#endif
