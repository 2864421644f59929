# The server with the model that is checked out in models/ (run `make repro` or `dvc pull` first):
#   docker build --tag landmarks . && docker run --publish 8080:8080 --env LANDMARKS_API_KEY=... --read-only --tmpfs /tmp landmarks
FROM python:3.11-slim AS packages
COPY requirements-serve.lock /
# What runs alone: TensorFlow for CPUs at the same version, no headers, no compiler, no tests, no pip
RUN sed -e 's/^tensorflow==/tensorflow-cpu==/' -e '/^libclang==/d' requirements-serve.lock >runtime.lock \
    && python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --no-cache-dir --no-deps --requirement runtime.lock \
    && rm -r /venv/lib/python3.11/site-packages/tensorflow/include \
    && find /venv -type d -name tests -prune -exec rm -r {} +

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home landmarks
COPY --from=packages /venv /venv
WORKDIR /landmarks
COPY dvc.lock params.yaml ./
COPY src src
COPY data/demo/backbone data/demo/backbone
COPY data/examples data/examples
COPY models/landmarks.csv models/plain.json models/plain.weights.h5 models/threshold.json models/
# One prediction, so that the network's graph is kept beside the model: a container is ready three seconds earlier
RUN ["/venv/bin/python", "src/predict.py", "data/examples"]
USER 10001
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=3s --start-period=60s \
    CMD ["/venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
# Exec form: SIGTERM reaches the server, which finishes the requests in progress
CMD ["/venv/bin/python", "src/serve.py", "--host", "0.0.0.0"]
