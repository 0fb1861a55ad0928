"""The canonical tables, as Arrow schemas: one module a stage, so that an edit makes no earlier stage stale."""
