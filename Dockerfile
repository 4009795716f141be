# One image, three commands: `serve` (the default), `worker`, `migrate`. Built and run by `make image-check`.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
# pip reads these as settings. The index holds torch's CPU build; without it PyPI's build brings gigabytes of CUDA.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG PIP_FIND_LINKS=
ARG PIP_CERT=
WORKDIR /source
RUN python3 -m venv /opt/thetaprime
COPY requirements.lock ./
RUN /opt/thetaprime/bin/pip install --no-cache-dir --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY app app
COPY meta meta
COPY migrations migrations
RUN /opt/thetaprime/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && /opt/thetaprime/bin/pip uninstall --yes pip

FROM ${BASE_IMAGE}
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin thetaprime
COPY --from=build /opt/thetaprime /opt/thetaprime
# The root file system is meant to be mounted read-only; /tmp is the only place that is written to.
ENV PATH=/opt/thetaprime/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python3", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
ENTRYPOINT ["thetaprime"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
