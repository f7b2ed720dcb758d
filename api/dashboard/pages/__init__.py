"""Pages for people: each is an address of its own."""

from fastapi import APIRouter

from api.dashboard.pages import (
    compare,
    folders,
    image,
    job,
    jobs,
    models,
    results,
    sign_in,
    static,
    status,
    submit,
)

router = APIRouter(include_in_schema=False)
for module in (
    jobs,
    job,
    folders,
    results,
    image,
    submit,
    compare,
    models,
    status,
    sign_in,
    static,
):
    router.include_router(module.router)
