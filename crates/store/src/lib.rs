//! Storage on SQLite and PostgreSQL behind one set of operations.
