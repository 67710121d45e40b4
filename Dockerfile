# One image for every process: `gateway`, `worker`, `supervise`, or `up` (the default), which
# runs all of them with a store of its own under /data.
FROM python:3.12.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/build && python -m venv /opt/contextd
# The locks first: a changed source file costs no new download.
COPY requirements.txt requirements-build.txt ./
RUN /opt/build/bin/pip install --require-hashes -r requirements-build.txt \
    && /opt/contextd/bin/pip install --require-hashes -r requirements.txt
COPY . .
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/contextd/bin/pip install --no-index --no-deps /dist/*.whl \
    && /opt/contextd/bin/python -m compileall -q /opt/contextd/lib

FROM python:3.12.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin contextd \
    && install -d -o contextd -g contextd -m 0700 /data
COPY --from=build /opt/contextd /opt/contextd
ENV PATH=/opt/contextd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CONTEXTD_HOST=0.0.0.0 \
    CONTEXTD_PORT=8000 \
    CONTEXTD_DATA=/data
USER contextd
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# For `up` and `gateway`; compose.yaml switches it off for workers, which serve no HTTP. A certificate is for the
# name that others know, and is not looked at.
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request as r; s = 's' if os.environ.get('CONTEXTD_TLS_CERT') else ''; r.urlopen(f'http{s}://127.0.0.1:{os.environ[\"CONTEXTD_PORT\"]}/healthz', timeout=2, context=ssl._create_unverified_context())"]
ENTRYPOINT ["contextd"]
CMD ["up"]
