// The main job through a generated connect-es v2 client; see main_v1.ts for the rest.
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { Code, ConnectError, createClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport as node } from "@connectrpc/connect-node";
import { createConnectTransport as web } from "@connectrpc/connect-web";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { AuthService } from "./gen/auth/v1/auth_pb";
import { OrgsService } from "./gen/orgs/v1/orgs_pb";
import { ApiKeyKind, ProjectsService } from "./gen/projects/v1/projects_pb";
import { EventsService } from "./gen/events/v1/events_pb";
import { AggregationType, Granularity, InsightsService, InsightType } from "./gen/insights/v1/insights_pb";

const baseUrl = process.env.PUGD_URL!;
const headers = (values: Record<string, string>): Interceptor => (next) => (request) => {
  for (const [key, value] of Object.entries(values)) request.header.set(key, value);
  return next(request);
};
type Make = (values: Record<string, string>) => Transport;
const transports: Record<string, Make> = {
  "node binary": (h) => node({ baseUrl, httpVersion: "1.1", useBinaryFormat: true, interceptors: [headers(h)] }),
  "web json": (h) => web({ baseUrl, interceptors: [headers(h)], useHttpGet: true }),
};

for (const [name, make] of Object.entries(transports)) {
  const auth = createClient(AuthService, make({}));
  const session = await auth.signUp({ email: `v2.${process.pid}.${Date.now()}@example.com`, password: "correct horse" });
  const person = make({ authorization: `Bearer ${session.token}` });
  const [org] = (await createClient(OrgsService, person).list({})).orgs;
  const [project] = (await createClient(ProjectsService, person).list({ orgId: org.id })).projects;
  const scoped = make({ authorization: `Bearer ${session.token}`, "x-project-id": project.id });
  const { key } = await createClient(ProjectsService, scoped).createApiKey({ kind: ApiKeyKind.PRIVATE });
  const keyed = make({ "x-api-key": key });
  const sent = await createClient(EventsService, keyed).batchCreate({
    events: [{ name: "visit", distinctId: "ada", timestamp: timestampFromDate(new Date("2026-03-01T12:00:00Z")),
               properties: { page: "/", depth: 3 } }],
  });
  assert.deepEqual([sent.accepted, sent.eventsCreated], [1, 1]);
  const answer = await createClient(InsightsService, keyed).query({
    spec: { insightType: InsightType.SEGMENTATION,
            events: [{ event: { kind: "visit" }, aggregation: AggregationType.UNIQUE_USERS }] },
    granularity: Granularity.DAY,
    timeRange: { from: timestampFromDate(new Date("2026-03-01T00:00:00Z")), to: timestampFromDate(new Date("2026-03-02T00:00:00Z")) },
  });
  assert.equal(answer.result.case, "segmentation");
  assert.equal((answer.result.value as { total: number }).total, 1);
  await assert.rejects(() => createClient(OrgsService, make({})).list({}),
    (e: unknown) => e instanceof ConnectError && e.code === Code.Unauthenticated);
  console.log(`ok v2 ${name}`);
}
