"""What the clients of HUAWEI CLOUD's services share."""

from datetime import datetime, timedelta, timezone

from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

from clients import Task


class Service:
    """A list whose pages are asked for by the number of rows before them. A service gives `client`, the rows
    of a `page`, and the task of a row."""

    error = ClientRequestException
    small_page = 10
    # The most rows of a page.
    most = 100

    def __init__(self, source):
        keys = BasicCredentials(source.key, source.secret, source.project_id)
        if source.token:
            keys = keys.with_security_token(source.token)
        builder = self.client.new_builder().with_credentials(keys)
        self.client = builder.with_endpoint(source.endpoint).build()

    def any(self):
        return self.page(0, self.small_page)

    def rows(self, limit):
        rows = []
        while more := self.page(len(rows), limit):
            rows.extend(more)
            if len(more) < limit:
                break
        return rows

    def tasks(self, limit=None):
        return [self.task(row) for row in self.rows(limit or self.most)]


class Planned(Service):
    """A list of planned tasks, in the names that most have."""

    def task(self, row):
        return Task(row.job_id, row.job_name, row.job_status, None, row.instance_id)


def zoned(**ago):
    """A time before or after now as `2021-07-12T09:22:04+0000`."""
    return f"{datetime.now(timezone.utc) - timedelta(**ago):%Y-%m-%dT%H:%M:%S}+0000"


def milliseconds(**ago):
    """The same in Unix milliseconds."""
    return int((datetime.now(timezone.utc) - timedelta(**ago)).timestamp()) * 1000


def ratio(text):
    """A percentage with or without its sign as a ratio; `None` where there is none."""
    return float(text.rstrip("%")) / 100 if text else None


def scenario(instance, words, kinds, region="cn-north-4"):
    """A scenario with a task for each word, and 40 that have ended. A task that has not ended is at 42 %."""
    lives = {
        "run": "[{run: {for: 1h, to: 0.42, word: WORD}}, {hang: {word: WORD}}]",
        "wait": "[{wait: {word: WORD}}]",
        "pause": "[{run: {for: 1h, to: 0.42}}, {pause: {word: WORD}}]",
        "finish": "[{run: {for: 1h}}, {finish: {word: WORD}}]",
        "fail": '[{run: {for: 1h, to: 0.3}}, {fail: {word: WORD, code: "DRS.M00999", message: "no \\"flavor\\"\\nleft"}}]',
        "cancel": "[{run: {for: 1h, to: 0.3}}, {cancel: {word: WORD}}]",
    }
    lines = [f"region: {region}", f"resources: [{{id: {instance}, name: shop}}]", "tasks:"]
    for number, (word, life) in enumerate(words.items(), 1):
        kind = kinds[number % len(kinds)]
        life = lives[life].replace("WORD", f'"{word}"')
        lines.append(f"  - {{id: {id_of(number)}, resource: {instance}, kind: {kind}, at: -2h, life: {life}}}")
    lines += [
        "spawn:",
        "  - every: 1h",
        "    from: -70h",
        "    until: -30h",
        f"    kinds: [{kinds[0]}]",
        "    outcomes: [{life: [{run: {for: 5m}}, {finish: {}}]}]",
    ]
    return "\n".join(lines)


def id_of(number):
    return f"5a3cd1f0-{number:04}-4d2a-8f00-00000000c0de"


def words_of(words):
    """What `WORDS` of a file are."""
    return {id_of(number): word for number, word in enumerate(words, 1)}
