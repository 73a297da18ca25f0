# Demitasse on a CPU, with all that its commands can use.
#   docker build -t demitasse .
#   docker run --rm -v "$PWD":/work demitasse train nets/own/solver.prototxt
#   docker run --rm -v "$PWD":/work -p 8000:8000 --entrypoint python demitasse /opt/demitasse/examples/serve.py \
#       --net nets/own/deploy.prototxt --weights own.caffemodel --host 0.0.0.0
FROM python:3.12-slim

COPY . /opt/demitasse
RUN pip install --no-cache-dir "/opt/demitasse[hdf5,lmdb,plots,onnx,tensorboard]" \
    && useradd --create-home demitasse && mkdir /work && chown demitasse /work

# Kernels are compiled at their first use: a volume on this folder keeps them.
ENV DEMITASSE_CACHE=/home/demitasse/.cache/demitasse
USER demitasse
WORKDIR /work
ENTRYPOINT ["demitasse"]
CMD ["--help"]
