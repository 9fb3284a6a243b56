#!/usr/bin/env python3
"""What proto/gen refuses, so that it can never be served: the culprit is named."""
import os
import subprocess
import sys
import tempfile

import pug

PROTO = """
syntax = "proto3";
package sample.v1;
import "pug/options/v1/options.proto";
message Ask { optional string org_id = 1 [(pug.options.v1.rule) = { %s }]; }
message Answer {}
service Sample {
  rpc Fine(Ask) returns (Answer) { option (pug.options.v1.method) = { authz: AUTHZ_PUBLIC rate: RATE_READ }; }
  rpc Culprit(Ask) returns (Answer) { %s }
}
"""


def generate(option, rule="required: true", planned=""):
    """Exit code and words of the generator for a service whose second method has this option."""
    with tempfile.TemporaryDirectory(prefix="pugg-") as folder:
        for name, text in (("sample.proto", PROTO % (rule, option)), ("planned", planned)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        descriptors = os.path.join(folder, "set.pb")
        subprocess.run(["protoc", "-I", folder, "-I", os.path.join(pug.TOP, "proto"), "--include_imports",
                        "-o", descriptors, os.path.join(folder, "sample.proto")], check=True)
        done = subprocess.run([sys.executable, os.path.join(pug.TOP, "proto/gen/gen.py"), descriptors,
                               os.path.join(folder, "out"), "--planned", os.path.join(folder, "planned")],
                              capture_output=True, text=True, check=False)
        made = os.path.exists(os.path.join(folder, "out", "methods.c"))
        assert made == (done.returncode == 0), done
        return done.returncode, done.stderr


def method(text):
    return "option (pug.options.v1.method) = { %s };" % text


def test_a_whole_method_is_made(_):
    code, text = generate(method("authz: AUTHZ_ORG role: ROLE_VIEWER rate: RATE_READ"))
    assert code == 0, text


def test_incomplete_methods_are_refused(_):
    culprit = "/sample.v1.Sample/Culprit"
    for option, words in (
            ("", "has no authz option"),
            (method("rate: RATE_READ"), "has no authz option"),
            (method("authz: AUTHZ_UNSPECIFIED rate: RATE_READ"), "has no authz option"),
            (method("authz: AUTHZ_PUBLIC"), "has no rate class"),
            (method("authz: AUTHZ_PUBLIC rate: RATE_UNSPECIFIED"), "has no rate class"),
            (method("authz: AUTHZ_ORG rate: RATE_READ"), "a role goes with"),
            (method("authz: AUTHZ_PUBLIC role: ROLE_ADMIN rate: RATE_READ"), "a role goes with"),
            (method('authz: AUTHZ_PUBLIC rate: RATE_READ alias: "sample.v1.Sample/Fine"'),
             "is a path of two methods")):
        code, text = generate(option)
        assert code != 0 and words in text, (option, text)
        assert culprit in text or words == "is a path of two methods", (option, text)


def test_rules_and_plans_that_mean_nothing_are_refused(_):
    good = method("authz: AUTHZ_PUBLIC rate: RATE_READ")
    for rule, words in (("max_items: 3", "org_id"), ('pattern: "(a"', "org_id")):
        code, text = generate(good, rule)
        assert code != 0 and words in text, (rule, text)
    code, text = generate(good, planned="rpc_sample_nobody\n")
    assert code != 0 and "rpc_sample_nobody" in text, text


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    sys.exit(pug.main(tests))
