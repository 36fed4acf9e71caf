"""The one way to a forge. The client libraries are optional and slow to import: only who needs one imports it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from netpol_gen.errors import OptionError
from netpol_gen.prbot.calls import DEFAULT_LIMITS, AppKey, Limits

if TYPE_CHECKING:
    from netpol_gen.prbot.github import GitHub
    from netpol_gen.prbot.gitlab import GitLab


class Kind(StrEnum):
    """Forges that we speak to."""

    GITHUB = "github"
    GITLAB = "gitlab"


def open_forge(
    kind: Kind,
    repository: str,
    token: str | AppKey,
    *,
    url: str = "",
    login: str = "",
    job_token: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> GitHub | GitLab:
    """A repository on a forge. Nothing is sent yet.

    `url` is the API's base, empty for github.com or gitlab.com. `login` is who the token acts for, if that is known.
    The token comes from the environment, which the command line reads; it is in no message and no log.

    Raises:
        OptionError: the forge's library is not installed, or an argument cannot be right.

    """
    try:
        if kind is Kind.GITHUB:
            from netpol_gen.prbot import github as hub  # noqa: PLC0415 - optional, and slow to import
        else:
            from netpol_gen.prbot import gitlab as lab  # noqa: PLC0415 - the same
    except ImportError as error:
        raise OptionError(
            f"{kind} needs a library that is not installed ({error}): pip install 'netpol-gen[bot]'"
        ) from None
    if kind is Kind.GITHUB:
        if job_token:
            raise OptionError("GitHub has no job tokens; a workflow's GITHUB_TOKEN is a token like others")
        return hub.GitHub(repository, token, url or hub.URL, login=login, limits=limits)
    if isinstance(token, AppKey):
        raise OptionError("GitLab has no apps with private keys; give it a token")
    return lab.GitLab(repository, token, url or lab.URL, job_token=job_token, limits=limits)
