"""A small shop, instrumented with the real OpenTelemetry SDK: orders that cross four components as traces and logs.

Each component is a process of its own in life, so each gets its own providers and resource here, labelled the way
OpenChoreo labels pods. Two export over gRPC, two over HTTP.
"""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

MILLISECOND = 1_000_000
RUN_ATTRIBUTE = "demo.run"


@dataclass(frozen=True, slots=True)
class Place:
    organization: str
    project: str
    component: str
    environment: str
    is_grpc: bool


PLACES = (
    Place("acme", "shop", "frontend", "production", is_grpc=True),
    Place("acme", "shop", "cart", "production", is_grpc=False),
    Place("acme", "shop", "payment", "production", is_grpc=True),
    Place("acme", "warehouse", "stock", "staging", is_grpc=False),
)


@dataclass(slots=True)
class Component:
    """One instrumented service and how many items it has handed to the SDK."""

    place: Place
    tracer_provider: TracerProvider
    logger_provider: LoggerProvider
    tracer: trace.Tracer
    logger: Logger
    spans: int = 0
    logs: int = 0


@dataclass(slots=True)
class Shop:
    components: dict[str, Component]
    run: str
    dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - a demo, the same each time

    @property
    def spans(self) -> int:
        return sum(component.spans for component in self.components.values())

    @property
    def logs(self) -> int:
        return sum(component.logs for component in self.components.values())

    def take_order(self, number: int, started_unix_nano: int) -> None:
        """One order: a trace of five or six spans over four components, and a log line at each."""
        at, dice = started_unix_nano, self.dice
        total_ms = dice.randint(20, 120)
        fails = number % 9 == 8
        with self._span("frontend", "POST /checkout", SpanKind.SERVER, at, total_ms + 30) as root:
            root.set_attribute("http.request.method", "POST")
            root.set_attribute("order.lines", [f"sku-{dice.randint(1, 9)}" for _ in range(2)])
            self._log("frontend", f"checkout of order {number} started", SeverityNumber.INFO, at)
            with self._span("cart", "GetCart", SpanKind.SERVER, at + 2 * MILLISECOND, 8) as cart:
                cart.set_attribute("cart.items", dice.randint(1, 5))
                self._log("cart", f"cart of order {number} read", SeverityNumber.DEBUG, at + 3 * MILLISECOND)
            with self._span("payment", "Charge", SpanKind.CLIENT, at + 12 * MILLISECOND, total_ms) as charge:
                charge.set_attribute("payment.amount", round(dice.random() * 90 + 5, 2))
                if fails:
                    charge.set_status(Status(StatusCode.ERROR, "card declined"))
                    charge.add_event("exception", {"exception.type": "CardDeclined"}, at + 15 * MILLISECOND)
                    self._log("payment", f"order {number}: card declined", SeverityNumber.ERROR, at + 15 * MILLISECOND)
            if not fails:
                link = Link(charge.get_span_context(), {"why": "paid"})
                with self._span(
                    "stock", "Reserve", SpanKind.CONSUMER, at + (total_ms + 13) * MILLISECOND, 5, links=(link,)
                ):
                    self._log("stock", f"order {number} reserved", SeverityNumber.INFO, at + 20 * MILLISECOND)

    @contextmanager
    def _span(
        self, name: str, operation: str, kind: SpanKind, at: int, milliseconds: int, *, links: tuple[Link, ...] = ()
    ) -> Iterator[trace.Span]:
        component = self.components[name]
        component.spans += 1
        span = component.tracer.start_span(operation, kind=kind, start_time=at, links=links)
        with trace.use_span(span, end_on_exit=False):
            yield span
        span.end(at + milliseconds * MILLISECOND)

    def _log(self, name: str, body: str, severity: SeverityNumber, at: int) -> None:
        component = self.components[name]
        component.logs += 1
        component.logger.emit(
            timestamp=at, body=body, severity_number=severity, severity_text=severity.name, attributes={"shop": "demo"}
        )

    def flush(self) -> bool:
        """Hand everything to Headrace. False if some export did not go through in time."""
        done = [
            provider.force_flush(20_000)
            for component in self.components.values()
            for provider in (component.tracer_provider, component.logger_provider)
        ]
        return all(done)


@contextmanager
def open_shop(grpc_endpoint: str, http_endpoint: str) -> Iterator[Shop]:
    """A shop whose components export to the two OTLP endpoints; leaving it shuts their SDKs down."""
    run = uuid.uuid4().hex
    components = {place.component: _component(place, run, grpc_endpoint, http_endpoint) for place in PLACES}
    try:
        yield Shop(components, run)
    finally:
        for component in components.values():
            component.tracer_provider.shutdown()
            component.logger_provider.shutdown()


def _component(place: Place, run: str, grpc_endpoint: str, http_endpoint: str) -> Component:
    resource = Resource.create(
        {
            "service.name": place.component,
            "openchoreo.dev/namespace": place.organization,
            "openchoreo.dev/project": place.project,
            "openchoreo.dev/component": place.component,
            "openchoreo.dev/environment": place.environment,
            "k8s.namespace.name": f"dp-{place.organization}-{place.project}-{place.environment}",
            "k8s.pod.name": f"{place.component}-5d8f7c9b6-x2x1f",
            "k8s.pod.uid": str(uuid.uuid5(uuid.NAMESPACE_URL, place.component)),
            "k8s.container.name": "main",
            "k8s.pod.labels.version": "v1.4.2",
            RUN_ATTRIBUTE: run,
        }
    )
    tracer_provider = TracerProvider(resource=resource)
    logger_provider = LoggerProvider(resource=resource)
    if place.is_grpc:
        tracer_provider.add_span_processor(BatchSpanProcessor(GrpcSpans(grpc_endpoint, insecure=True)))
        logger_provider.add_log_record_processor(BatchLogRecordProcessor(GrpcLogs(grpc_endpoint, insecure=True)))
    else:
        gzip = Compression.Gzip
        spans = HttpSpans(f"{http_endpoint}/v1/traces", compression=gzip)
        logs = HttpLogs(f"{http_endpoint}/v1/logs", compression=gzip)
        tracer_provider.add_span_processor(BatchSpanProcessor(spans))
        logger_provider.add_log_record_processor(BatchLogRecordProcessor(logs))
    return Component(
        place, tracer_provider, logger_provider, tracer_provider.get_tracer("shop"), logger_provider.get_logger("shop")
    )
