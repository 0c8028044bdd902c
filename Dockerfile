# Build: docker build -t meterbridge .
# Run:   docker run --read-only --tmpfs /tmp --cap-drop ALL -v ./config.yaml:/etc/meterbridge/config.yaml:ro \
#            -v meterbridge:/var/lib/meterbridge meterbridge
# With a broker and a dashboard: examples/compose. `http.listen` must be "0.0.0.0:8080" in a container.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY bridge ./bridge
RUN python -m venv /opt/meterbridge \
    && /opt/meterbridge/bin/pip install . \
    && find /opt/meterbridge -name __pycache__ -type d -prune -exec rm -rf {} +

FROM python:3.12-slim
RUN groupadd --system --gid 10001 meterbridge \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/meterbridge --shell /usr/sbin/nologin meterbridge \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/meterbridge \
    && install -d /etc/meterbridge
COPY --from=build /opt/meterbridge /opt/meterbridge
ENV PATH=/opt/meterbridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/meterbridge
VOLUME /var/lib/meterbridge
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["meterbridge"]
CMD ["run", "-c", "/etc/meterbridge/config.yaml", "--log-format", "json"]
