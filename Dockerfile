# The mirror as an image: `docker build -t mirror .`, then
#   docker run -p 8080:8080 -v mirror-data:/var/lib/mirror mirror
# A configuration of your own: -v ./etc:/etc/mirror:ro (mirror.yaml, policy.yaml; `mirror init` writes both).

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md ./
COPY mirror mirror
COPY config config
COPY docs docs
RUN python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheels .
RUN python -m venv /opt/mirror \
 && /opt/mirror/bin/python -m pip install --no-cache-dir --disable-pip-version-check "$(ls /wheels/*.whl)[postgresql,xet]"

FROM python:3.13-slim
COPY --from=build /opt/mirror /opt/mirror
RUN install -d -o 10001 -g 10001 /var/lib/mirror /etc/mirror
# In a container the outside is told by the port that is published; the data has one place.
ENV PATH=/opt/mirror/bin:$PATH \
    HOME=/var/lib/mirror \
    PYTHONUNBUFFERED=1 \
    MIRROR_LISTEN__HOST=0.0.0.0 \
    MIRROR_DATA=/var/lib/mirror
WORKDIR /etc/mirror
VOLUME /var/lib/mirror
EXPOSE 8080
USER 10001:10001
# Speaks TLS where MIRROR_LISTEN__TLS__CERT says so; a certificate that only mirror.yaml names needs a check of your own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client as h, os, ssl; p = int(os.environ.get('MIRROR_LISTEN__PORT', '8080')); c = h.HTTPSConnection('127.0.0.1', p, timeout=4, context=ssl._create_unverified_context()) if os.environ.get('MIRROR_LISTEN__TLS__CERT') else h.HTTPConnection('127.0.0.1', p, timeout=4); c.request('GET', '/-/health/live'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["mirror"]
CMD ["serve"]
