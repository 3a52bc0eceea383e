# One image for every role; the command says which (docker-compose.yml).
FROM python:3.12-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LLMOBS_DATA=/data DJANGO_SETTINGS_MODULE=llmobs.settings

RUN useradd --create-home --uid 10001 llmobs && install -d -o llmobs -g llmobs -m 0700 /data
WORKDIR /app

COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

COPY manage.py pyproject.toml README.md ./
COPY llmobs llmobs
COPY gateway gateway
COPY dashboards dashboards
# Gateways run without assertions: what they load is compiled so here, not at each start (a second, and 70 MB).
RUN PYTHONDONTWRITEBYTECODE= python -O -c "import gateway.serving, genai_prices.data"

USER llmobs
VOLUME /data
EXPOSE 4000 4317 8000
CMD ["python", "manage.py", "up", "--host", "0.0.0.0"]
