"""Types of settings: what a variable's text has to look like."""

import json
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr


def _url_of(*schemes: str) -> AfterValidator:
    """Check a secret URL's scheme; its text stays secret, since it may hold a password."""

    def check(value: SecretStr) -> SecretStr:
        scheme, separator, _ = value.get_secret_value().partition("://")
        if not separator or scheme not in schemes:
            raise ValueError(f"must be a URL with one of the schemes {', '.join(schemes)}")
        return value

    return AfterValidator(check)


def _json_list(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = None
    if not isinstance(parsed, list):
        raise ValueError('must be a JSON list of strings, e.g. ["one","two"]')
    return parsed


MongoUrl = Annotated[SecretStr, _url_of("mongodb", "mongodb+srv")]
RedisUrl = Annotated[SecretStr, _url_of("redis", "rediss", "unix")]
BrokerUrl = Annotated[SecretStr, _url_of("redis", "rediss", "redis+socket", "sentinel", "amqp")]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
JsonList = BeforeValidator(_json_list)
