# The app as a server. Data is mounted at /data, the run store is the volume /store.
#
#   docker build -t ctbench .
#   docker run -p 127.0.0.1:8501:8501 -v ctbench:/store -v "$PWD/data:/data:ro" ctbench
#
# torch: without TORCH_INDEX the default build, which on Linux x86-64 has CUDA (3 GB) and also runs on the CPU. Give the
# index of the CPU builds, or of another CUDA version, as pytorch.org shows it behind --index-url, for another one.

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY .streamlit/config.toml .streamlit/
COPY ctbench_core ctbench_core
COPY ctbench_ui ctbench_ui
COPY data/reference data/reference
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG TORCH_INDEX=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir -c /tmp/constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY --from=build /wheels /tmp/wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/wheels/*.whl)[app,auth,h5,remote,cluster]" \
    && useradd --create-home --uid 1000 ctbench \
    && install -d -o ctbench -g ctbench /store /data

USER 1000
WORKDIR /store
# CTBENCH_ROOTS: what users may read and write. CTBENCH_HOSTS: the name of the server, besides localhost.
ENV CTBENCH_OUTPUTS=/store/outputs \
    CTBENCH_ROOTS=/data:/store \
    CTBENCH_HOSTS=ctbench
VOLUME /store
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
ENTRYPOINT ["ctbench"]
CMD ["app", "--host", "0.0.0.0", "--port", "8501", "--no-browser"]
