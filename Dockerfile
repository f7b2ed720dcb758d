# Targets: api, worker, trainer. docker-compose.yml runs them.
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS builder
ENV PATH=/opt/venv/bin:$PATH
COPY . /source
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv /opt/venv \
    && pip install --require-hashes --requirement /source/requirements/serving.txt \
    && pip install --no-deps --no-build-isolation /source

FROM builder AS trainer-builder
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes --requirement /source/requirements/trainer.txt

FROM ${PYTHON} AS base
ENV PATH=/opt/venv/bin:$PATH CUEMILL_DATA_DIR=/data
# /data and /spool belong to the user, so new volumes mounted there do too.
RUN groupadd --gid 10001 cuemill && useradd --uid 10001 --gid cuemill --no-create-home --home-dir /tmp cuemill \
    && install --directory --owner cuemill --group cuemill /data \
    && install --directory --owner cuemill --group cuemill --mode 700 /spool
USER 10001:10001
WORKDIR /data
ENTRYPOINT ["cuemill"]

FROM base AS api
COPY --from=builder /opt/venv /opt/venv
EXPOSE 8000
CMD ["serve"]

FROM base AS worker
COPY --from=builder /opt/venv /opt/venv
CMD ["worker"]

FROM base AS trainer
COPY --from=trainer-builder /opt/venv /opt/venv
CMD ["worker", "--queue", "training"]
