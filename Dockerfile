# MuscleMap on a CPU: docker build -t musclemap . (or make docker). What it carries: docs/licences.md.
FROM python:3.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE cli.py ./
COPY musclemap_data musclemap_data
COPY benchmark benchmark
COPY annotations annotations
# torch for the CPU alone: without it, 4 GB of CUDA libraries come along.
RUN python -m venv /opt/musclemap \
    && /opt/musclemap/bin/pip install --extra-index-url https://download.pytorch.org/whl/cpu \
        -c constraints.txt "torch==$(sed -n 's/^torch==//p' constraints.txt)+cpu" \
        "torchvision==$(sed -n 's/^torchvision==//p' constraints.txt)+cpu" ".[hub,s3]"
# With any value: without the parts under the GPL. Then only finished shards can be worked with.
ARG WITHOUT_GPL=
RUN if [ -n "$WITHOUT_GPL" ]; then \
        /opt/musclemap/bin/pip uninstall --yes av imageio-ffmpeg mutagen; fi

FROM python:3.11-slim-bookworm

LABEL org.opencontainers.image.title="MuscleMap" \
    org.opencontainers.image.description="Which of 20 muscle regions does an exercise video activate?" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.documentation="docs/container.md"
RUN useradd --create-home --uid 1000 musclemap && install -d -o musclemap /data
COPY --from=build /opt/musclemap /opt/musclemap
ENV PATH=/opt/musclemap/bin:$PATH \
    MUSCLEMAP_DATA=/data/musclemap \
    MUSCLEMAP_CACHE=/data/cache
USER 1000
WORKDIR /data
VOLUME /data
ENTRYPOINT ["musclemap"]
CMD ["--help"]
