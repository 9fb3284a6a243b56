// The main job through a generated connect-es v1 client: sign up, make a key, send
// events, read a trend. Runs once for each transport and codec given in argv.
import { strict as assert } from "node:assert";
import { randomUUID } from "node:crypto";
import { Code, ConnectError, createPromiseClient, type Interceptor, type Transport } from "@connectrpc/connect";
import { createConnectTransport as node } from "@connectrpc/connect-node";
import { createConnectTransport as web } from "@connectrpc/connect-web";
import { Timestamp } from "@bufbuild/protobuf";
import { AuthService } from "./gen/auth/v1/auth_connect";
import { OrgsService } from "./gen/orgs/v1/orgs_connect";
import { ProjectsService } from "./gen/projects/v1/projects_connect";
import { ApiKeyKind } from "./gen/projects/v1/projects_pb";
import { EventsService } from "./gen/events/v1/events_connect";
import { InsightsService } from "./gen/insights/v1/insights_connect";
import { DashboardsService } from "./gen/dashboards/v1/dashboards_connect";
import { ActivityService } from "./gen/activity/v1/activity_connect";
import { AggregationType, Granularity, InsightType } from "./gen/insights/v1/insights_pb";

const baseUrl = process.env.PUGD_URL!;

// With PUGD_RETRY workers die meanwhile: a call that got no answer is sent again. An error that pugd
// itself answers has details, and stands; so does the plain 404 of a method that is unknown.
let retries = 0;
const patience = process.env.PUGD_RETRY ? 100 : 0;

function headers(values: Record<string, string>): Interceptor {
  return (next) => async (request) => {
    for (const [key, value] of Object.entries(values)) request.header.set(key, value);
    for (let attempt = 0; ; attempt++) {
      try {
        return await next(request);
      } catch (error) {
        const { code, details } = ConnectError.from(error);
        if (attempt >= patience || details.length > 0 || code === Code.Unimplemented) throw error;
        retries++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
}

// The answer of a call; of one that was sent again and had been done the first time, what `done` gives.
async function once<T>(call: () => Promise<T>, done: Code, otherwise: () => Promise<T>): Promise<T> {
  const before = retries;
  try {
    return await call();
  } catch (error) {
    if (retries === before || !(error instanceof ConnectError) || error.code !== done) throw error;
    return otherwise();
  }
}

type Make = (values: Record<string, string>) => Transport;
const transports: Record<string, Make> = {
  "node binary": (h) => node({ baseUrl, httpVersion: "1.1", useBinaryFormat: true, interceptors: [headers(h)] }),
  "node json": (h) => node({ baseUrl, httpVersion: "1.1", useBinaryFormat: false, interceptors: [headers(h)] }),
  "node get": (h) => node({ baseUrl, httpVersion: "1.1", useHttpGet: true, interceptors: [headers(h)] }),
  "web binary": (h) => web({ baseUrl, useBinaryFormat: true, interceptors: [headers(h)] }),
  "web json": (h) => web({ baseUrl, interceptors: [headers(h)] }),
};

async function fails(code: Code, reason: string, call: () => Promise<unknown>) {
  try {
    await call();
  } catch (error) {
    assert(error instanceof ConnectError, String(error));
    assert.equal(error.code, code, error.message);
    const info = error.details[0] as { type: string; value: Uint8Array };
    assert.equal(info.type, "google.rpc.ErrorInfo");
    assert(Buffer.from(info.value).toString("latin1").includes(reason), error.message);
    return;
  }
  assert.fail("the call should have failed");
}

async function run(name: string, make: Make) {
  const email = `${name.replace(" ", ".")}.${process.pid}.${Date.now()}@example.com`;
  const auth = createPromiseClient(AuthService, make({}));
  const session = await once<{ token?: string; refreshToken?: string }>(
    () => auth.signUp({ email, password: "correct horse", displayName: name }),
    Code.AlreadyExists, () => auth.signIn({ email, password: "correct horse" }));
  assert(session.token && session.refreshToken);
  await fails(Code.AlreadyExists, "EMAIL_TAKEN", () => auth.signUp({ email, password: "correct horse" }));
  await fails(Code.Unauthenticated, "INVALID_CREDENTIALS", () => auth.signIn({ email, password: "wrong" }));

  const person = make({ authorization: `Bearer ${session.token}` });
  const [org] = (await createPromiseClient(OrgsService, person).list({})).orgs;
  const [project] = (await createPromiseClient(ProjectsService, person).list({ orgId: org.id })).projects;
  const scoped = make({ authorization: `Bearer ${session.token}`, "x-project-id": project.id! });
  const projects = createPromiseClient(ProjectsService, scoped);
  const made = await projects.createApiKey({ kind: ApiKeyKind.PRIVATE, displayName: name });
  assert.match(made.key!, /^prv_[0-9a-f]{40}$/);

  const keyed = make({ "x-api-key": made.key! });
  const events = createPromiseClient(EventsService, keyed);
  const start = new Date("2026-03-01T12:00:00Z");
  const batch = [0, 1, 2, 3, 4].map((i) => ({
    eventId: randomUUID(), kind: "order", distinctId: `u${i % 2}`, sessionId: randomUUID(),
    occurTime: Timestamp.fromDate(new Date(start.getTime() + i * 43200000)),
    customProperties: { amount: { value: { case: "doubleValue" as const, value: 1.5 * i } },
                        big: { value: { case: "intValue" as const, value: 9007199254740993n } } },
  }));
  const before = retries;
  const first = await events.batchCreate({ events: batch });
  assert.deepEqual([first.accepted, first.dropped], [5, 0]);
  if (retries === before || first.eventsCreated !== 0) assert.equal(first.eventsCreated, 5);
  const again = await events.batchCreate({ events: batch });
  assert.deepEqual([again.accepted, again.eventsCreated], [5, 0]);
  await fails(Code.InvalidArgument, "INVALID_ARGUMENT", () => events.batchCreate({ events: [{ kind: "no id" }] }));

  for (const transport of [keyed, scoped]) {
    const insights = createPromiseClient(InsightsService, transport);
    const answer = await insights.query({
      spec: { insightType: InsightType.TRENDS,
              events: [{ event: { kind: "order" }, aggregation: AggregationType.SUM, aggregationProperty: "amount" }] },
      granularity: Granularity.DAY,
      timeRange: { from: Timestamp.fromDate(new Date("2026-03-01T00:00:00Z")), to: Timestamp.fromDate(new Date("2026-03-05T00:00:00Z")) },
    });
    assert.equal(answer.result.case, "trends");
    const [series] = answer.result.value!.series as unknown as { points: { time: Timestamp; value: number }[] }[];
    assert.deepEqual(series.points.map((p) => [p.time.toDate().toISOString().slice(0, 10), p.value]),
                     [["2026-03-01", 0], ["2026-03-02", 4.5], ["2026-03-03", 10.5]]);
  }
  const feed = await createPromiseClient(ActivityService, keyed).list({ pageSize: 2 });
  assert.equal(feed.events.length, 2);
  assert(feed.nextPageToken);
  await fails(Code.PermissionDenied, "PERMISSION_DENIED", () =>
    createPromiseClient(ProjectsService, make({ authorization: `Bearer ${session.token}`, "x-project-id": "0".repeat(20) })).get({}));
  const later = { ...DashboardsService, methods: { list: { ...DashboardsService.methods.list, name: "Later" } } };
  await assert.rejects(() => createPromiseClient(later, scoped).list({}),
    (error) => error instanceof ConnectError && error.code === Code.Unimplemented);
  await once<unknown>(() => projects.revokeApiKey({ id: made.apiKey!.id }), Code.NotFound, async () => {});
  // A worker that died between COMMIT and answer told nobody: then the feed does, within a second (D4).
  const told = Date.now() + (process.env.PUGD_RETRY ? 2000 : 0);
  while (Date.now() < told && (await events.batchCreate({ events: batch }).then(() => true, () => false)))
    await new Promise((wake) => setTimeout(wake, 50));
  await fails(Code.Unauthenticated, "UNAUTHENTICATED", () => events.batchCreate({ events: batch }));
  const next = await auth.refreshToken({ refreshToken: session.refreshToken });
  assert(next.token && next.refreshToken !== session.refreshToken);
  await auth.signOut({ refreshToken: next.refreshToken });
  await fails(Code.Unauthenticated, "INVALID_TOKEN", () => auth.refreshToken({ refreshToken: next.refreshToken }));
}

for (const [name, make] of Object.entries(transports)) {
  await run(name, make);
  console.log(`ok v1 ${name}`);
}
console.log(`retries ${retries}`);
