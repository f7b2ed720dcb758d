"""`cuemill webhooks`: who is told when jobs end."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from cli.context import connect
from cli.options import Json
from cli.output import count_of, err, print_json, printable, say
from models.addresses import check_url
from models.store import deliveries, webhooks
from models.store.deliveries import DeliveryView
from models.store.states import Event

app = typer.Typer(name="webhooks", help="Manage webhooks.", no_args_is_help=True)

WebhookId = Annotated[int, typer.Argument(metavar="WEBHOOK", min=1, help="Id of a webhook.")]
Most = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Maximum number to show.")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where events are sent, such as https://host/path.")],
    event: Annotated[
        list[Event] | None,
        typer.Option(help="Only events of this kind. Repeat for several kinds."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Have a receiver told when jobs end. Its secret is shown this once."""
    settings, db = connect()
    check_url(url, private=settings.webhook_private)
    view, secret = webhooks.create(db, url, event or list(Event))

    if as_json:
        print_json({**asdict(view), "secret": secret})
        return
    err.print(f"Webhook {view.id}. The receiver needs this secret, which is not shown again:")
    say(secret)


@app.command("list")
def list_all(limit: Most = 50, as_json: Json = False) -> None:
    """List webhooks, newest first."""
    _, db = connect()
    views = webhooks.list_newest(db, limit=limit)

    if as_json:
        print_json([asdict(view) for view in views])
        return
    for view in views:
        state = "enabled" if view.enabled else "disabled"
        say(f"{view.id}  {state}  {printable(view.url)}  {', '.join(view.events)}")
    if not views:
        err.print("No webhooks. Run `cuemill webhooks create URL` to create one.")


@app.command()
def delete(webhook_id: WebhookId) -> None:
    """Delete a webhook. What it has not been told yet is not sent any more."""
    _, db = connect()
    webhooks.delete(db, webhook_id)
    err.print(f"Deleted webhook {webhook_id}.")


@app.command("deliveries")
def list_deliveries(webhook_id: WebhookId, limit: Most = 20, as_json: Json = False) -> None:
    """List what a webhook has been told, or is to be told, newest first."""
    _, db = connect()
    views = deliveries.list_newest(db, webhook_id, limit=limit)

    if as_json:
        print_json([asdict(view) for view in views])
    else:
        _print_deliveries(views)


@app.command()
def replay(
    delivery_id: Annotated[
        int, typer.Argument(metavar="DELIVERY", min=1, help="Id of a delivery.")
    ],
    as_json: Json = False,
) -> None:
    """Send an event once more. Receivers tell by its message id that it is the same."""
    _, db = connect()
    view = deliveries.replay(db, delivery_id)

    if as_json:
        print_json(asdict(view))
    else:
        err.print(f"Delivery {delivery_id} is pending again. A running worker sends it.")


def _print_deliveries(views: Sequence[DeliveryView]) -> None:
    for view in views:
        say(
            f"{view.id}  {view.event}  job {view.job_id}  {view.state}  "
            f"{count_of(len(view.attempts), 'attempt')}{_last_answer(view)}"
        )


def _last_answer(view: DeliveryView) -> str:
    if not view.attempts:
        return ""
    last = view.attempts[-1]
    return f", the last: {last['status'] or printable(last['error'])}"
