"""Leaderboard: the public leaderboard at Kaggle -> printed: our place, the scores around it, what a medal needs."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tandem.artifacts.paths import Paths
from tandem.kaggle_client.client import connect
from tandem.kaggle_client.medals import medal_places
from tandem.runtime.console import make_console
from tandem.stages._kaggle import slug_of

AROUND = 2  # places above ours and below


@dataclass(frozen=True)
class Team:
    """A row of the leaderboard."""

    name: str
    score: float


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--slug", default="", help="where competition.toml has none: of its address at Kaggle")


def main(args: Namespace) -> None:
    slug = slug_of(Paths(args.comp), args.slug)
    with connect(slug) as kaggle:
        about = kaggle.competition()
        sent = kaggle.submissions()
        medals = medal_places(about.team_count)
        rows = kaggle.leaderboard(max(*medals.values(), about.user_rank + AROUND, 3))
    teams = [Team(row.team_name, float(row.score or "nan")) for row in rows]
    ours = own_place(teams, sent[0].team if sent else "", about.user_rank)
    make_console().print(table(teams, shown_places(len(teams), ours, medals), ours, medals))
    if not teams:
        print("the leaderboard is empty")
    elif not ours:
        print(f"no score of yours is on it yet: make upload COMP={args.comp}")
    else:
        print(f"place {ours:,} of {about.team_count:,} ({ours / max(about.team_count, ours):.1%})")
    if not about.awards_points:
        print("this competition gives no medals; the places are those that would get one elsewhere")
    for line in medal_lines(teams, ours, medals):
        print(line)


def own_place(teams: Sequence[Team], name: str, rank: int) -> int:
    """From 1; 0 where the team has no score."""
    named = [place for place, team in enumerate(teams, 1) if name and team.name == name]
    return named[0] if named else rank


def shown_places(n: int, ours: int, medals: dict[str, int]) -> list[int]:
    """The first three, the last of each medal, and those around ours."""
    around = range(ours - AROUND, ours + AROUND + 1) if ours else ()
    return sorted(place for place in {1, 2, 3, *medals.values(), *around} if 1 <= place <= n)


def table(teams: Sequence[Team], places: Sequence[int], ours: int, medals: dict[str, int]) -> Table:
    made = Table(box=SIMPLE_HEAD, title="public leaderboard")
    made.add_column("place", justify="right")
    made.add_column("team", overflow="fold")
    made.add_column("score", justify="right")
    made.add_column("")
    last = {place: medal for medal, place in reversed(medals.items())}
    for place in places:
        team = teams[place - 1]
        marks = ["yours"] * (place == ours) + [f"last {last[place]}" for _ in (0,) if place in last]
        made.add_row(
            f"{place:,}", team.name, f"{team.score:.5f}", ", ".join(marks), style="bold" if place == ours else ""
        )
    return made


def medal_lines(teams: Sequence[Team], ours: int, medals: dict[str, int]) -> list[str]:
    """For each medal its last place, the score there, and how far ours is from it."""
    lines = []
    for medal, place in medals.items():
        if not 1 <= place <= len(teams):
            continue
        score = teams[place - 1].score
        line = f"{medal}: the first {place:,}, now {score:.5f}"
        if 1 <= ours <= len(teams):
            own = teams[ours - 1].score
            line += ", reached" if ours <= place else f", {abs(score - own):.5f} from your {own:.5f}"
        lines.append(line)
    return lines
