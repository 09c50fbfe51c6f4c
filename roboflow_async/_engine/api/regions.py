"""Where Roboflow's services are, and which hosts are Roboflow's.

The table is that of `inference_sdk.regions` (1.8.3) and of `roboflow.config` (1.7.3).
"""

import os
from dataclasses import dataclass
from typing import Final, Literal

import httpx

from roboflow_async._engine.checks import shown
from roboflow_async.errors import ConfigurationError

__all__ = ["Services", "is_roboflow_host", "serves_everybody", "services_for"]

Region = Literal["us", "eu"]
Environment = Literal["prod", "staging"]


@dataclass(frozen=True, slots=True)
class Services:
    """The base URLs of one region. An account's data stays in its region.

    Attributes:
        serverless: the Serverless API, which runs Workflows and models.
        platform: the platform API, for operations on a workspace.
        dedicated: the API that starts and stops Dedicated Deployments.
    """

    serverless: str
    platform: str
    dedicated: str


_SERVICES: Final[dict[tuple[Region, Environment], Services]] = {
    ("us", "prod"): Services(
        "https://serverless.roboflow.com", "https://api.roboflow.com", "https://roboflow.cloud"
    ),
    ("eu", "prod"): Services(
        "https://serverless.roboflow.eu", "https://api.roboflow.eu", "https://eu.roboflow.cloud"
    ),
    ("us", "staging"): Services(
        "https://serverless.roboflow.one",
        "https://api.roboflow.one",
        "https://staging.roboflow.cloud",
    ),
    ("eu", "staging"): Services(
        "https://serverless.roboflow-eu.one",
        "https://api.roboflow-eu.one",
        "https://eu.staging.roboflow.cloud",
    ),
}
_DOMAINS: Final[dict[str, tuple[Region, Environment]]] = {
    "roboflow.com": ("us", "prod"),
    "roboflow.eu": ("eu", "prod"),
    "roboflow.one": ("us", "staging"),
    "roboflow-eu.one": ("eu", "staging"),
}
# Domains of Dedicated Deployments; the longest match counts.
_DEDICATED_DOMAINS: Final[dict[str, tuple[Region, Environment]]] = {
    "eu.staging.roboflow.cloud": ("eu", "staging"),
    "staging.roboflow.cloud": ("us", "staging"),
    "eu.roboflow.cloud": ("eu", "prod"),
}
_DEDICATED: Final = "roboflow.cloud"
_STAGING_PROJECT: Final = "roboflow-staging"


def is_roboflow_host(host: str) -> bool:
    """Whether a host is one of Roboflow's, which needs a key and bills requests."""
    return serves_everybody(host) or _is_within(host, _DEDICATED)


def serves_everybody(host: str) -> bool:
    """Whether it is one of Roboflow's shared APIs, in any region."""
    return any(_is_within(host, domain) for domain in _DOMAINS)


def services_for(api_url: httpx.URL | None = None) -> Services:
    """The services of the region of an API's URL.

    If the URL does not show the region (None, another host), ROBOFLOW_REGION (us, eu) and
    ROBOFLOW_ENVIRONMENT (prod, staging) decide. RF_API_BASE_URL or API_BASE_URL replaces the
    platform's URL, and DEDICATED_DEPLOYMENT_URL the URL of Dedicated Deployments.

    Raises:
        ConfigurationError: an environment variable has an unknown value.
    """
    place = _place_of(api_url.host) if api_url is not None else None
    services = _SERVICES[place or (_region(), _environment())]
    return Services(
        services.serverless,
        os.environ.get("RF_API_BASE_URL") or _api_base_url() or services.platform,
        os.environ.get("DEDICATED_DEPLOYMENT_URL") or services.dedicated,
    )


def _is_within(host: str, domain: str) -> bool:
    # A name may end with a dot (the DNS root). The dot before the name is needed, else
    # `evilroboflow.com` would count as Roboflow's.
    return f".{host.lower().rstrip('.')}".endswith(f".{domain}")


def _place_of(host: str) -> tuple[Region, Environment] | None:
    for domain, place in {**_DOMAINS, **_DEDICATED_DOMAINS}.items():
        if _is_within(host, domain):
            return place
    if _is_within(host, _DEDICATED) and not os.environ.get("ROBOFLOW_REGION"):
        return ("us", "prod")
    return None


def _region() -> Region:
    given = os.environ.get("ROBOFLOW_REGION", "").strip().lower() or "us"
    if given not in ("us", "eu"):
        raise ConfigurationError(
            f"ROBOFLOW_REGION={shown(given)} is not known: set it to one of eu, us, "
            "or give api_url."
        )
    return given


def _environment() -> Environment:
    given = os.environ.get("ROBOFLOW_ENVIRONMENT", "").strip().lower()
    if not given:
        # Other software uses PROJECT, too, so only Roboflow's own value counts.
        given = "staging" if os.environ.get("PROJECT") == _STAGING_PROJECT else "prod"
    if given not in ("prod", "staging"):
        raise ConfigurationError(
            f"ROBOFLOW_ENVIRONMENT={shown(given)} is not known: set it to prod or staging, "
            "or give api_url."
        )
    return given


def _api_base_url() -> str | None:
    """API_BASE_URL, if it is Roboflow's. Another software's must not get the key."""
    given = os.environ.get("API_BASE_URL", "")
    try:
        host = httpx.URL(given).host
    except (httpx.InvalidURL, ValueError, UnicodeError):
        return None
    return given if is_roboflow_host(host) else None
