# Build: docker build -t meterbridge .
# Run:   docker run -v ./config.yaml:/etc/meterbridge/config.yaml:ro -v meterbridge:/var/lib/meterbridge meterbridge
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY bridge ./bridge
RUN python -m venv /opt/meterbridge \
    && /opt/meterbridge/bin/pip install . \
    && find /opt/meterbridge -name __pycache__ -type d -prune -exec rm -rf {} +

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/meterbridge --shell /usr/sbin/nologin meterbridge \
    && install -d -o meterbridge -g meterbridge -m 0700 /var/lib/meterbridge \
    && install -d /etc/meterbridge
COPY --from=build /opt/meterbridge /opt/meterbridge
ENV PATH=/opt/meterbridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER meterbridge
WORKDIR /var/lib/meterbridge
VOLUME /var/lib/meterbridge
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["meterbridge"]
CMD ["run", "-c", "/etc/meterbridge/config.yaml", "--log-format", "json"]
