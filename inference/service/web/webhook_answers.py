"""What requests and answers about receivers of webhooks hold."""

from pydantic import BaseModel, Field

from pathoprog.inference.service.web.answers import Answered, OpaqueId, RequestBody


class WebhookAnswer(BaseModel):
    """One receiver of webhooks: what waits for it, and what it refused."""

    name: str
    waiting: int
    problem: str
    undelivered: int
    sending_again: int


class Webhooks(Answered):
    """All receivers of the settings."""

    webhooks: list[WebhookAnswer]


class UndeliveredAnswer(BaseModel):
    """An event that a receiver refused; what it tells stands in the event of this number."""

    delivery: str
    seq: int
    kind: str
    at: str
    tries: int
    status: int


class Undelivered(Answered):
    """A page of them, oldest first."""

    undelivered: list[UndeliveredAnswer]
    next: int = Field(0, description="give it as `after` for the next page; 0: there is none")


class SendAgainBody(RequestBody):
    """What to send again."""

    delivery: OpaqueId | None = Field(None, description="one delivery; without it all of the webhook")


class SendingAgain(Answered):
    """How many are being sent again."""

    deliveries: int
