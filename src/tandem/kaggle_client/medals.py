"""The places that get a medal, by Kaggle's rules (https://www.kaggle.com/progression)."""

MEDALS = ("gold", "silver", "bronze")


def medal_places(teams: int) -> dict[str, int]:
    """{medal: the last place that gets it}; shares of the teams are rounded down.

    >>> medal_places(80), medal_places(200)
    ({'gold': 8, 'silver': 16, 'bronze': 32}, {'gold': 10, 'silver': 40, 'bronze': 80})
    >>> medal_places(500), medal_places(5000)
    ({'gold': 11, 'silver': 50, 'bronze': 100}, {'gold': 20, 'silver': 250, 'bronze': 500})
    """
    if teams < 100:
        places = (teams // 10, teams * 2 // 10, teams * 4 // 10)
    elif teams < 250:
        places = (10, teams * 2 // 10, teams * 4 // 10)
    elif teams < 1000:
        places = (10 + teams // 500, 50, 100)
    else:
        places = (10 + teams // 500, teams // 20, teams // 10)
    return dict(zip(MEDALS, places, strict=True))
