"""What the API process counts for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

HTTP_REQUESTS = Counter(
    "api_http_requests_total", "Total HTTP requests", ("method", "endpoint", "status_code")
)
HTTP_DURATION = Histogram(
    "api_http_request_duration_seconds",
    "Time to the end of the response, in seconds",
    ("method", "endpoint"),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
TASKS_ACCEPTED = Counter("api_tasks_accepted_total", "Tasks accepted")
OPEN_EVENT_STREAMS = Gauge("api_open_event_streams", "Event streams open at present")
