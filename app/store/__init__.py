"""All SQL: tables, queries, the unit of work. No tensors."""
