FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements-runtime.lock ./
RUN python -m venv /opt/caveau \
 && /opt/caveau/bin/pip install --no-cache-dir --no-compile --require-hashes -r requirements-runtime.lock
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir "setuptools>=77"
COPY . .
RUN PYTHONWARNINGS=ignore /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/caveau/bin/pip install --no-cache-dir --no-deps --no-index /wheels/caveau-*.whl \
 && /opt/caveau/bin/python -m compileall -q /opt/caveau/lib \
 && /opt/caveau/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="Caveau" \
      org.opencontainers.image.description="A self-hosted secrets server that speaks the HashiCorp Vault HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 65532 caveau \
 && useradd --system --uid 65532 --gid caveau --home-dir /var/lib/caveau --shell /usr/sbin/nologin caveau \
 && install -d -m 0700 -o caveau -g caveau /var/lib/caveau \
 && install -d -m 0755 /etc/caveau
COPY --from=build /opt/caveau /opt/caveau
# Nothing is written outside the volume, so the root file system may be read-only.
ENV PATH=/opt/caveau/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 VAULT_ADDR=http://127.0.0.1:8200
USER 65532:65532
WORKDIR /var/lib/caveau
VOLUME /var/lib/caveau
EXPOSE 8200
STOPSIGNAL SIGTERM
# 2 is a server that answers and is sealed: it waits for people and is not to be restarted.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
  CMD ["/bin/sh", "-c", "caveau status >/dev/null 2>&1; test $? -eq 0 -o $? -eq 2"]
ENTRYPOINT ["caveau"]
CMD ["server", "-config=/etc/caveau"]
