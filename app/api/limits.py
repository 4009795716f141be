"""What one request may weigh. Settings may lower or raise these; a route may declare its own `max_body_size`.

The byte cap itself is FastAPI's `max_body_size` (pure ASGI: decided on Content-Length and again while streaming, never
holding more than the cap). Give the default where the routers are included, and the larger one where a route streams:

    app.include_router(v1, max_body_size=settings.max_body_bytes)
    @router.post("/source-data", max_body_size=MAX_UPLOAD_BYTES)
"""

MAX_BODY_BYTES = 16 * 2**20
MAX_UPLOAD_BYTES = 4 * 2**30
MAX_JSON_DEPTH = 32
LARGE_BODY_BYTES = 2**20
"""Bodies above this are read in a thread, not on the event loop."""
MAX_FAULTS_LISTED = 1000
"""An answer lists this many faults and counts the rest."""
