"""Settings, from the environment: `DATABASE_URL`, and `THETAPRIME_…` for all others."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.api.limits import MAX_BODY_BYTES, MAX_JSON_DEPTH, MAX_UPLOAD_BYTES


class Settings(BaseSettings):
    """How the service runs. ``THETAPRIME_MAX_ROWS=1000``, say, sets ``max_rows``."""

    model_config = SettingsConfigDict(env_prefix="THETAPRIME_", populate_by_name=True, extra="ignore", frozen=True)

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL", repr=False)]
    n_threads: Annotated[int, Field(ge=1, le=256)] = Field(
        16, description="requests worked on at once, each with a database connection of its own"
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(MAX_BODY_BYTES, description="of an ordinary request")
    max_upload_bytes: Annotated[int, Field(ge=1024)] = Field(MAX_UPLOAD_BYTES, description="of source data")
    max_rows: Annotated[int, Field(ge=1)] = Field(50_000, description="of one request, source data apart")
    max_json_depth: Annotated[int, Field(ge=4, le=200)] = MAX_JSON_DEPTH
    max_influence_samples: Annotated[int, Field(ge=1)] = Field(
        500, description="most samples of a version whose influence is computed; time grows with the square"
    )
    n_predictors: Annotated[int, Field(ge=1)] = Field(256, description="versions kept in memory for scoring")
    watch_every_s: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="seconds between looks for newly active versions, should a notice of one be missed"
    )
