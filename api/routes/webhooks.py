"""Routes of webhooks and their deliveries. Any worker program sends them."""

from http import HTTPStatus

from fastapi import APIRouter, Response

from api.auth import ADMIN
from api.context import InjectedContext
from api.pages import InjectedPager
from api.schemas.common import After, IdempotencyKey, Limit, Page, parse_id_cursor
from api.schemas.webhooks import (
    Delivery,
    DeliveryId,
    NewWebhook,
    Webhook,
    WebhookId,
    WebhookRequest,
)
from models.addresses import check_url
from models.store import deliveries, webhooks

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[ADMIN])


@router.post(
    "/webhooks",
    status_code=HTTPStatus.CREATED,
    summary="Create a webhook",
    response_description="The webhook and its secret. `Location` is its URL.",
)
def create_webhook(
    request: WebhookRequest,
    context: InjectedContext,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> NewWebhook:
    """Have a receiver told when jobs end, by signed requests of Standard Webhooks.

    The secret is shown in this answer alone. To retry safely after a network error, send an
    `Idempotency-Key`: the same key and request return the same webhook.
    """
    check_url(request.url, private=context.settings.webhook_private)
    view, secret = webhooks.create(context.db, request.url, request.events, idempotency_key)

    response.headers["Location"] = f"/v1/webhooks/{view.id}"
    return NewWebhook(**Webhook.model_validate(view).model_dump(), secret=secret)


@router.get("/webhooks", summary="List webhooks", response_description="A page of webhooks.")
def list_webhooks(
    context: InjectedContext, pager: InjectedPager, limit: Limit = 50, after: After = None
) -> Page[Webhook]:
    """List webhooks, newest first."""
    views = webhooks.list_newest(context.db, limit=limit + 1, before=parse_id_cursor(after))
    return pager.page(
        views, limit, to_item=Webhook.model_validate, cursor=lambda view: str(view.id)
    )


@router.get("/webhooks/{webhook_id}", summary="Get a webhook", response_description="The webhook.")
def get_webhook(webhook_id: WebhookId, context: InjectedContext) -> Webhook:
    """Get a webhook, without its secret."""
    return Webhook.model_validate(webhooks.get(context.db, webhook_id))


@router.delete(
    "/webhooks/{webhook_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,  # Without a media type.
    summary="Delete a webhook",
    response_description="The webhook and its deliveries are deleted.",
)
def delete_webhook(webhook_id: WebhookId, context: InjectedContext) -> None:
    """Delete a webhook. What it has not been told yet is not sent any more."""
    webhooks.delete(context.db, webhook_id)


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    summary="List a webhook's deliveries",
    response_description="A page of deliveries.",
)
def list_deliveries(
    webhook_id: WebhookId,
    context: InjectedContext,
    pager: InjectedPager,
    limit: Limit = 50,
    after: After = None,
) -> Page[Delivery]:
    """List what a webhook has been told, or is to be told, newest first."""
    views = deliveries.list_newest(
        context.db, webhook_id, limit=limit + 1, before=parse_id_cursor(after)
    )
    return pager.page(
        views, limit, to_item=Delivery.model_validate, cursor=lambda view: str(view.id)
    )


@router.post(
    "/deliveries/{delivery_id}/replay",
    status_code=HTTPStatus.ACCEPTED,
    summary="Replay a delivery",
    response_description="The delivery, which is pending again.",
)
def replay_delivery(delivery_id: DeliveryId, context: InjectedContext) -> Delivery:
    """Send an event once more, with the same message id; one that is pending, without a pause."""
    return Delivery.model_validate(deliveries.replay(context.db, delivery_id))
