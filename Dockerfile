# One image per service: docker build --target workflows|scheduler|runner .
FROM python:3.13-slim AS build
WORKDIR /source
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY . .
# Without the extra `standalone`: in containers Kafka and MongoDB are containers of their own.
RUN pip install .

FROM python:3.13-slim AS service
RUN useradd --system --uid 10001 --create-home --home-dir /home/service service \
    && install --directory --owner service --group service /data
COPY --from=build /opt/venv /opt/venv
# Inside a container loopback reaches nobody, so the services listen everywhere; they start with AUTH=tokens or AUTH=open only.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 WEB_HOST=0.0.0.0 DATA_DIR=/data
USER service
WORKDIR /home/service
VOLUME /data
# Faust stops in order on SIGTERM.
STOPSIGNAL SIGTERM
# Ready means that it can do its work: MongoDB and Kafka answer, partitions are assigned, tables are recovered.
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['WEB_PORT']}/ready\", timeout=3)"]

FROM service AS workflows
ENV WEB_PORT=8081
EXPOSE 8081
CMD ["wf-workflows", "-L", "uvloop", "worker", "-l", "info", "--web-port", "8081"]

FROM service AS scheduler
ENV WEB_PORT=8082
EXPOSE 8082
CMD ["wf-scheduler", "-L", "uvloop", "worker", "-l", "info", "--web-port", "8082"]

FROM service AS runner
ENV WEB_PORT=8083
EXPOSE 8083
CMD ["wf-runner", "-L", "uvloop", "worker", "-l", "info", "--web-port", "8083"]
