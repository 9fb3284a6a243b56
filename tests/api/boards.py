"""A team, its projects and dashboards, for suites about them."""
import uuid

from people import Person, join, server
from test_accounts import PROJECTS

BATCH = "/events.v1.EventsService/BatchCreate"
BOARDS = "/dashboards.v1.DashboardsService/"
RELEASED = "/dashboard.dashboards.v1.DashboardsService/"
SHARED = "/dashboards.v1.SharedDashboardsService/Query"
XID = "0" * 20
DEFAULTS = {"defaultTimeRange": "TIME_RANGE_PRESET_LAST_30_DAYS", "defaultGranularity": "GRANULARITY_DAY"}
TEAM = None


def trend(kind="view", **spec):
    return {"insight": {"spec": {"insightType": "INSIGHT_TYPE_TRENDS",
                                 "events": [{"event": {"kind": kind}}], **spec}}}


def text(body="# Hello"):
    return {"markdown": {"body": body}}


class Team:
    """A project with somebody of each role, and one with nothing to do with it."""

    def __init__(self):
        self.admin, self.member, self.viewer, self.stranger = (Person() for _ in range(4))
        self.org = self.admin.org()
        join(self.org, self.member, 2)
        join(self.org, self.viewer, 3)

    def project(self, zone=""):
        return Project(self, self.admin.ok(PROJECTS + "Create", {
            "orgId": self.org, "displayName": uuid.uuid4().hex, "reportingTimezone": zone})["project"]["id"])


class Project:
    def __init__(self, team, project):
        self.team, self.id = team, project

    def ok(self, method, body=None, who=None, base=BOARDS):
        return (who or self.team.member).ok(base + method, body, project=self.id)

    def fails(self, status, why, method, body=None, who=None):
        return (who or self.team.member).fails(status, why, BOARDS + method, body, project=self.id)

    def make(self, name="Board", **more):
        return Board(self, self.ok("Create", {"displayName": name, **more})["dashboard"])

    def events(self, *events):
        """(kind, user, RFC 3339 time) each."""
        key = self.team.admin.ok(PROJECTS + "CreateApiKey", {"kind": 2}, project=self.id)["key"]
        server().ok(BATCH, {"events": [{"eventId": str(uuid.uuid4()), "name": kind, "distinctId": user,
                                        "timestamp": when} for kind, user, when in events]}, key=key)
        return self

    def listed(self):
        return self.ok("List").get("dashboards", [])


class Board:
    def __init__(self, project, made):
        self.project, self.made, self.id = project, made, made["id"]

    def get(self):
        return self.project.ok("Get", {"id": self.id})["dashboard"]

    def request(self, *tiles, **head):
        return {"id": self.id, "displayName": "Board", "tiles": list(tiles), **head}

    def put(self, *tiles, **head):
        return self.project.ok("Upsert", self.request(*tiles, **head))["dashboard"]

    def render(self, who=None, base=BOARDS, **asked):
        return self.project.ok("QueryDashboard", {"dashboardId": self.id, **asked},
                               who or self.project.team.viewer, base)["dashboard"]

    def fails(self, status, why, *tiles, **head):
        return self.project.fails(status, why, "Upsert", self.request(*tiles, **head))

    def update(self, **change):
        return self.project.ok("Update", {"id": self.id, "displayName": "Board", **change})["dashboard"]


def team():
    global TEAM
    TEAM = TEAM or Team()
    return TEAM


def project(zone=""):
    return team().project(zone)


def names(board):
    return [t["displayName"] for t in board.get("tiles", [])]


def without(value, *keys):
    """The value without the keys, at every depth."""
    if isinstance(value, list):
        return [without(v, *keys) for v in value]
    if isinstance(value, dict):
        return {k: without(v, *keys) for k, v in value.items() if k not in keys}
    return value
