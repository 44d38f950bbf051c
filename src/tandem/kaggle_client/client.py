"""Kaggle's competitions through its own package (`kagglesdk`), with retries and errors that name what to do.

The class KaggleApi of the package `kaggle` is not used: importing it signs in and prints, and it ignores
KAGGLE_API_ENVIRONMENT.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from tandem.kaggle_client.credentials import find_credentials
from tandem.kaggle_client.errors import SITE, accept, explanation, next_day
from tandem.kaggle_client.retries import Retries, status_of

PAGE = 100  # rows that a page of a list has
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)  # what the package raises for an answer of another form


@dataclass(frozen=True)
class Submission:
    """One of the team's submissions."""

    id: int
    date: datetime | None  # UTC
    file: str
    note: str
    status: str  # pending, complete or error
    public: str  # scores as Kaggle writes them; "" where there is none (yet)
    private: str
    team: str
    error: str  # what Kaggle says about a failed one


@dataclass(frozen=True)
class Quota:
    """How many submissions are left today (UTC)."""

    left: int
    used: int
    for_good: bool = False  # the limit of the whole competition is reached, not that of the day

    @property
    def about(self) -> str:
        ends = "for good: the competition's limit is reached" if self.for_good else f"today, until {next_day()}"
        return f"submissions left: {self.left} {ends}"


def checked_slug(text: str) -> str:
    """The slug; the address of a page of the competition works too.

    >>> checked_slug("https://www.kaggle.com/competitions/birds-2026/overview"), checked_slug("birds-2026")
    ('birds-2026', 'birds-2026')
    """
    slug = re.sub(r"^https?://(www\.)?kaggle\.com/(competitions|c)/", "", text.strip()).split("/")[0]
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", slug):
        raise ValueError(f"SLUG={text!r}: expected the last part of the competition's address, {SITE}SLUG")
    return slug


class _Timeouts(HTTPAdapter):
    """Kaggle's package sets no time limit: a server that is silent would hold it for ever."""

    def __init__(self, retries: Retries) -> None:
        self.retries = retries
        super().__init__()

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        return super().send(request, *args, **{**options, "timeout": options.get("timeout") or self.retries.timeout})


class Kaggle:
    """One competition at Kaggle. Open it with `connect`."""

    def __init__(self, slug: str, client: Any, source: str, retries: Retries) -> None:
        self.slug, self.source, self.retries, self.client = slug, source, retries, client
        self.api = client.competitions.competition_api_client
        self.session: requests.Session = client.http_client()._session
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, _Timeouts(retries))

    @property
    def page(self) -> str:
        return f"{SITE}{self.slug}"

    def call(self, name: str, **values: Any) -> Any:
        """The answer to a request that may be sent twice, such as `call("list_submissions", page_size=20)`."""
        from kagglesdk.competitions.types import competition_api_service as types

        kind = "Api" + "".join(word.title() for word in name.split("_")) + "Request"
        request = getattr(types, kind)()
        for key, value in values.items():
            setattr(request, key, value)
        with self.explained():
            return self.retries.call(lambda: getattr(self.api, name)(request))

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raises ValueError, which says what to do, where Kaggle refuses or can't be reached."""
        try:
            yield
        except requests.RequestException as error:
            raise ValueError(explanation(error, self.slug, self.source)) from error
        except UNREADABLE as error:
            raise ValueError(
                f"{self.slug}: the answer is not Kaggle's, or of a new form ({error!r:.200}); open {self.page} to see "
                "whether this network asks for a sign-in, then run the same command again"
            ) from error

    def competition(self) -> Any:
        """Kaggle's `ApiCompetition`; raises ValueError where the rules are not accepted yet."""
        found = self.call("get_competition", competition_name=self.slug)
        if not found.user_has_entered:
            raise ValueError(f"{self.slug}: its rules are not accepted yet; {accept(self.slug)}")
        return found

    def quota(self, per_day: int) -> Quota:
        """`per_day`, the competition's, counts where the user has no team yet: then Kaggle answers with zeros."""
        limits = self.call("get_submission_limits", competition_name=self.slug)
        if not (limits.num_today or limits.num_total or limits.num_allowed_now):
            return Quota(per_day, 0)
        return Quota(limits.num_allowed_now, limits.num_today, limits.limited_by_total)

    def submissions(self) -> list[Submission]:
        """All of the team's, the latest first."""
        return list(map(submission_of, self._pages("list_submissions", "submissions")))

    def submission(self, id: int) -> Submission:
        return submission_of(self.call("get_submission", ref=id))

    def leaderboard(self, places: int) -> list[Any]:
        """The first `places` of the public leaderboard: `team_id`, `team_name`, `score`."""
        found = []
        for row in self._pages("get_leaderboard", "submissions"):
            found.append(row)
            if len(found) == places:
                break
        return found

    def _pages(self, name: str, field: str) -> Iterator[Any]:
        token = ""
        while True:
            answer = self.call(name, competition_name=self.slug, page_size=PAGE, page_token=token)
            yield from getattr(answer, field)
            if not answer.next_page_token or answer.next_page_token == token:
                return
            token = answer.next_page_token

    def submit(self, file: Path, note: str) -> int:
        """Uploads the file, and returns the submission's id."""
        known = {one.id for one in self.submissions()}
        with self.explained():
            token = self.retries.call(lambda: self._upload(file))
        while True:
            started = self.retries.clock()
            try:
                return self._create(token, note)
            except (requests.RequestException, *UNREADABLE) as error:
                if status_of(error) in (400, 429) and (quota := self.quota(1)).left == 0:
                    raise ValueError(f"{self.slug}: {quota.about}") from error
                for one in self.submissions():  # the answer may have been lost, and the submission made
                    if one.id not in known and one.file == file.name and one.note == note:
                        return one.id
                with self.explained():
                    self.retries.wait_after(error, self.retries.clock() - started)

    def _create(self, token: str, note: str) -> int:
        from kagglesdk.competitions.types.competition_api_service import ApiCreateSubmissionRequest

        request = ApiCreateSubmissionRequest()
        request.competition_name, request.blob_file_tokens, request.submission_description = self.slug, token, note
        id = self.api.create_submission(request).ref
        if not id:
            raise KeyError("no id of the submission")
        return id

    def _upload(self, file: Path) -> str:
        """The token of the uploaded file."""
        from kagglesdk.competitions.types.competition_api_service import ApiStartSubmissionUploadRequest

        request, about = ApiStartSubmissionUploadRequest(), file.stat()
        request.competition_name, request.file_name = self.slug, file.name
        request.content_length, request.last_modified_epoch_seconds = about.st_size, int(about.st_mtime)
        started = self.api.start_submission_upload(request)
        with file.open("rb") as content:
            # the address is signed: credentials are not sent to it
            requests.put(started.create_url, data=content, timeout=self.retries.timeout).raise_for_status()
        return started.token


@contextmanager
def connect(slug: str, retries: Retries | None = None) -> Iterator[Kaggle]:
    """Finds the credentials and opens a connection, which is closed at the end."""
    from kagglesdk import KaggleClient

    slug = checked_slug(slug)
    try:
        found = find_credentials()
    except requests.RequestException as error:  # the session of `kaggle auth login` is renewed at Kaggle
        raise ValueError(explanation(error, slug, "kaggle auth login")) from error
    with KaggleClient(username=found.username, password=found.key, api_token=found.token) as client:
        yield Kaggle(slug, client, found.source, retries or Retries())


def remote_submissions(slug: str) -> list[Submission]:
    """The team's submissions at Kaggle, the latest first."""
    with connect(slug) as kaggle:
        return kaggle.submissions()


def submission_of(found: Any) -> Submission:
    return Submission(
        id=found.ref,
        date=found.date,
        file=found.file_name,
        note=found.description,
        status=found.status.name.lower(),
        public=found.public_score or "",
        private=found.private_score or "",
        team=found.team_name or "",
        error=found.error_description or "",
    )
